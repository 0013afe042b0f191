//! What one pass over the outbox has still to look at.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::model::{MessageRow, OutboxRow};
use crate::store::Outbox;

/// How many mails are claimed together: few, since an alert waits for those that are claimed already; more while they
/// leave quickly.
const BATCH: u32 = 16;
const LARGEST_BATCH: u32 = 64;
const QUICK_BATCH: Duration = Duration::from_millis(500);
/// But a mail with a larger body than this is claimed alone: each is in memory several times.
const BATCH_BYTES: u64 = 4 << 20;

/// What one pass has still to look at.
pub(super) struct Queue {
    /// Looked at already: a mail that can't leave blocks no other.
    seen: HashSet<OutboxRow>,
    /// How many of those are due all the same.
    back: u32,
    batch: u32,
    since: Instant,
    /// Nothing leaves but what the operator has to know.
    pub(super) frozen: bool,
}

impl Queue {
    pub(super) fn new(frozen: bool) -> Self {
        Self { seen: HashSet::new(), back: 0, batch: BATCH / 2, since: Instant::now(), frozen }
    }

    /// How many rows are asked for now.
    pub(super) fn limit(&mut self) -> u32 {
        let quick = self.since.elapsed() < QUICK_BATCH;
        self.batch = if quick { (self.batch * 2).min(LARGEST_BATCH) } else { BATCH };
        self.since = Instant::now();
        self.batch.saturating_add(self.back)
    }

    /// The first of those that weren't looked at yet, as many as are light together, and those that come later; None
    /// when more have to be asked for, to find any.
    pub(super) fn fresh(
        &mut self,
        mut rows: Vec<Outbox>,
        sizes: &HashMap<MessageRow, u64>,
        asked: u32,
    ) -> Option<(Vec<Outbox>, Vec<OutboxRow>)> {
        let found = rows.len();
        rows.retain(|row| !self.seen.contains(&row.id));
        self.back = u32::try_from(found - rows.len()).unwrap_or(u32::MAX);
        if rows.is_empty() && found >= asked as usize {
            return None;
        }
        let size = |row: &Outbox| row.message.and_then(|message| sizes.get(&message)).copied().unwrap_or(0);
        let mut together = 0_u64;
        let many = rows.iter().take_while(|row| {
            together = together.saturating_add(size(row));
            together <= BATCH_BYTES
        });
        let many = many.count().max(1).min(rows.len());
        let later = rows.split_off(many).iter().map(|row| row.id).collect();
        self.seen.extend(rows.iter().map(|row| row.id));
        Some((rows, later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, OutboxState};

    fn row(id: i64) -> Outbox {
        let at = chrono::DateTime::UNIX_EPOCH;
        Outbox {
            id: OutboxRow(id),
            kind: Kind::Reply,
            client: None,
            therapist: None,
            message: None,
            state: OutboxState::Waiting,
            created_at: at,
            not_before: at,
            attempts: 0,
            next_attempt: at,
            first_attempt_at: None,
            last_error: None,
            reached_dot: false,
            facts: serde_json::Value::Null,
            recipient: None,
            mail_id: None,
            has_frozen: false,
            size: None,
            sha256: None,
            result_code: None,
            finished_at: None,
            returned_at: None,
            notice: None,
        }
    }

    #[test]
    fn mails_that_stay_due_hide_no_others_and_are_looked_at_once() {
        // None of 200 can leave: each stays due, and they come before all others.
        let due: Vec<i64> = (0..200).collect();
        let mut queue = Queue::new(false);
        let mut looked_at = Vec::new();
        loop {
            let asked = queue.limit();
            let rows = due.iter().take(asked as usize).map(|id| row(*id)).collect();
            match queue.fresh(rows, &HashMap::new(), asked) {
                None => {}
                Some((fresh, _)) if fresh.is_empty() => break,
                Some((fresh, _)) => looked_at.extend(fresh.iter().map(|row| row.id.0)),
            }
        }
        assert_eq!(looked_at, due);
    }

    #[test]
    fn what_is_large_is_claimed_alone_and_nothing_is_left_out() {
        let sizes: HashMap<MessageRow, u64> =
            (0..10).map(|id| (MessageRow(id), if id % 5 == 2 { 34 << 20 } else { 1 << 20 })).collect();
        let mut queue = Queue::new(false);
        let mut batches: Vec<Vec<i64>> = Vec::new();
        loop {
            let rows = (0..10).map(|id| Outbox { message: Some(MessageRow(id)), ..row(id) });
            let due: Vec<Outbox> = rows.filter(|row| !batches.concat().contains(&row.id.0)).collect();
            let many = due.len();
            let Some((fresh, later)) = queue.fresh(due, &sizes, 64) else { break };
            assert_eq!(fresh.len() + later.len(), many);
            if fresh.is_empty() {
                break;
            }
            batches.push(fresh.iter().map(|row| row.id.0).collect());
        }
        assert_eq!(batches, [vec![0, 1], vec![2], vec![3, 4, 5, 6], vec![7], vec![8, 9]]);
    }

    #[test]
    fn batches_begin_small_and_grow_while_mails_leave_quickly() {
        let mut queue = Queue::new(false);
        let limits: Vec<u32> = (0..4).map(|_| queue.limit()).collect();
        assert_eq!(limits, [16, 32, 64, 64]);
        queue.since -= QUICK_BATCH;
        assert_eq!(queue.limit(), 16);
    }
}
