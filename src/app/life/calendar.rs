//! A neutral calendar entry for a meeting (RFC 5545): a moment, and nothing that says with whom or why.
//!
//! It is published and not a request: a request would have mail programs answer in clear, and needs both addresses.

use chrono::{DateTime, Utc};
use icalendar::{Calendar, Class, Component, Event, EventLike};

use crate::mime::{CALENDAR, OutPart};
use crate::model::Language;

/// The entry as a part of a mail. `uid` is random and says nothing.
pub fn part(at: DateTime<Utc>, uid: &str, language: Language, made: DateTime<Utc>) -> OutPart {
    let (summary, name) = match language {
        Language::Fr => ("Rendez-vous", "rendez-vous.ics"),
        Language::En => ("Appointment", "appointment.ics"),
    };
    let event = Event::with_uid(uid).timestamp(made).starts(at).summary(summary).class(Class::Private).done();
    let mut calendar = Calendar::empty();
    calendar
        .append_property(("VERSION", "2.0"))
        .append_property(("PRODID", "-//cadre//EN"))
        .append_property(("CALSCALE", "GREGORIAN"))
        .append_property(("METHOD", "PUBLISH"))
        .push(event);
    OutPart::File {
        name: name.to_owned(),
        media_type: CALENDAR.to_owned(),
        bytes: calendar.to_string().into_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_tells_a_moment_and_nothing_else() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let part = part(at("2026-03-04T14:00:00Z"), "0f3a", Language::Fr, at("2026-03-02T09:00:00Z"));
        let OutPart::File { name, media_type, bytes } = part else { panic!("a file") };
        assert_eq!((name.as_str(), media_type.as_str()), ("rendez-vous.ics", CALENDAR));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.is_empty()).collect();
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [
                "BEGIN:VCALENDAR",
                "BEGIN:VEVENT",
                "CALSCALE:GREGORIAN",
                "CLASS:PRIVATE",
                "DTSTAMP:20260302T090000Z",
                "DTSTART:20260304T140000Z",
                "END:VCALENDAR",
                "END:VEVENT",
                "METHOD:PUBLISH",
                "PRODID:-//cadre//EN",
                "SUMMARY:Rendez-vous",
                "UID:0f3a",
                "VERSION:2.0",
            ]
        );
        assert_eq!((lines.first(), lines.last()), (Some(&"BEGIN:VCALENDAR"), Some(&"END:VCALENDAR")));
    }
}
