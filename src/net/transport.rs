//! The stream that both protocol crates stand on: it loses patience, bounds what it takes in, and can
//! be taken back for STARTTLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::error::{NetError, Service, TlsProblem};
use super::tls::Io;

/// So much is gathered before it is written without being flushed.
const GATHER: usize = 256 * 1024;

/// Why a stream is of no more use. The crates' own errors quote what the server said, so that
/// nobody asks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Late,
    Ended,
}

/// A shared handle: the crate reads and writes through one, we hold another.
#[derive(Clone)]
pub(super) struct Transport(Arc<Mutex<Inner>>);

struct Inner {
    stream: Box<dyn Io>,
    /// For each single read; none waits for ever.
    read_patience: Option<Duration>,
    write_patience: Duration,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    /// How many bytes may still come.
    budget: usize,
    /// Hand out one line at a time, so that nothing hides in a crate's buffer.
    by_line: bool,
    held: Vec<u8>,
    /// Show `?` for every byte beyond ASCII.
    ascii: bool,
    out: Vec<u8>,
    written: usize,
    /// The last bytes that the other side took.
    tail: [u8; 5],
    fault: Option<Fault>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport(…)")
    }
}

impl Transport {
    pub(super) fn new(stream: Box<dyn Io>, patience: Duration, budget: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            stream,
            read_patience: Some(patience),
            write_patience: patience,
            read_timer: None,
            write_timer: None,
            budget,
            by_line: false,
            held: Vec::new(),
            ascii: false,
            out: Vec::new(),
            written: 0,
            tail: [0; 5],
            fault: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before STARTTLS: keeps what comes after a line out of the crate's buffer.
    pub(super) fn by_line(self) -> Self {
        self.inner().by_line = true;
        self
    }

    /// For lettre, which gives up on a reply that is not UTF-8 (a text of Latin-1 after the final dot,
    /// say). Nothing but ASCII in a reply is of any use.
    pub(super) fn ascii(self) -> Self {
        self.inner().ascii = true;
        self
    }

    /// Puts a line of our own before what the server says.
    pub(super) fn prefaced(self, line: &[u8]) -> Self {
        self.inner().held.extend_from_slice(line);
        self
    }

    /// How long a read may take from now on; none waits for ever.
    pub(super) fn set_read_patience(&self, patience: Option<Duration>) {
        let mut inner = self.inner();
        inner.read_patience = patience;
        inner.read_timer = None;
    }

    /// How many bytes may come from now on.
    pub(super) fn allow(&self, budget: usize) {
        self.inner().budget = budget;
    }

    /// Whether the last that was written is the line that ends a mail.
    pub(super) fn wrote_dot(&self) -> bool {
        self.inner().tail == *b"\r\n.\r\n"
    }

    /// What a failure means: silence, a cut, or else bytes that make no sense.
    pub(super) fn failure(&self, service: Service, doing: &'static str) -> NetError {
        match self.inner().fault {
            Some(Fault::Late) => NetError::Timeout { service, doing },
            Some(Fault::Ended) => NetError::Closed { service, doing },
            None => NetError::Protocol { service, doing, what: "an answer that can't be read; check `port`" },
        }
    }

    /// The bare stream, for STARTTLS. Bytes that came too early are an attack (RFC 3207 section 5).
    /// The crate must have let go of its handle.
    pub(super) fn into_stream(self, service: Service) -> Result<Box<dyn Io>, NetError> {
        let inner = Arc::into_inner(self.0).map(|m| m.into_inner().unwrap_or_else(PoisonError::into_inner));
        match inner {
            Some(inner) if inner.held.is_empty() => Ok(inner.stream),
            _ => Err(NetError::Tls { service, problem: TlsProblem::Injected }),
        }
    }
}

/// Whether patience is at its end; otherwise the task is woken when it will be.
fn run_out(timer: &mut Option<Pin<Box<Sleep>>>, patience: Option<Duration>, cx: &mut Context<'_>) -> bool {
    match patience {
        Some(patience) => timer.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx).is_ready(),
        None => false,
    }
}

impl Inner {
    fn fail(&mut self, fault: Fault, kind: io::ErrorKind) -> io::Error {
        self.fault.get_or_insert(fault);
        kind.into()
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                self.read_timer = None;
                let got = buf.filled().len() - before;
                if self.ascii {
                    buf.filled_mut()[before..].iter_mut().filter(|b| !b.is_ascii()).for_each(|b| *b = b'?');
                }
                if got == 0 {
                    self.fault.get_or_insert(Fault::Ended);
                }
                match self.budget.checked_sub(got) {
                    Some(left) => self.budget = left,
                    None => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(self.fail(Fault::Ended, e.kind()))),
            Poll::Pending if run_out(&mut self.read_timer, self.read_patience, cx) => {
                Poll::Ready(Err(self.fail(Fault::Late, io::ErrorKind::TimedOut)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for one step of writing, with patience.
    fn writing<T>(&mut self, step: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match step {
            Poll::Ready(Ok(done)) => {
                self.write_timer = None;
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(self.fail(Fault::Ended, e.kind()))),
            Poll::Pending if run_out(&mut self.write_timer, Some(self.write_patience), cx) => {
                Poll::Ready(Err(self.fail(Fault::Late, io::ErrorKind::TimedOut)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let step = Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]);
            let n = ready!(self.writing(step, cx))?;
            if n == 0 {
                return Poll::Ready(Err(self.fail(Fault::Ended, io::ErrorKind::WriteZero)));
            }
            let taken = &self.out[self.written..self.written + n];
            let last = &taken[taken.len().saturating_sub(5)..];
            self.tail.rotate_left(last.len());
            self.tail[5 - last.len()..].copy_from_slice(last);
            self.written += n;
        }
        // The buffer may hold a password.
        zeroize::Zeroize::zeroize(self.out.as_mut_slice());
        self.out.clear();
        self.out.shrink_to(GATHER);
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        if inner.held.is_empty() {
            if !inner.by_line {
                return inner.read(cx, buf);
            }
            let mut chunk = [0; 4096];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(inner.read(cx, &mut chunk))?;
            inner.held.extend_from_slice(chunk.filled());
        }
        let line = inner.held.iter().position(|&b| b == b'\n').map_or(inner.held.len(), |at| at + 1);
        let given = line.min(buf.remaining());
        buf.put_slice(&inner.held[..given]);
        inner.held.drain(..given);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner();
        if inner.out.len() >= GATHER {
            ready!(inner.drain(cx))?;
        }
        inner.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        ready!(inner.drain(cx))?;
        let step = Pin::new(&mut inner.stream).poll_flush(cx);
        inner.writing(step, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        let step = Pin::new(&mut inner.stream).poll_shutdown(cx);
        inner.writing(step, cx)
    }
}

impl lettre::transport::smtp::client::AsyncTokioStream for Transport {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn lines_come_one_by_one_and_what_follows_is_not_handed_over() {
        let (mut far, near) = duplex(4096);
        let transport = Transport::new(Box::new(near), PATIENCE, 100).by_line().ascii().prefaced(b"220 go\r\n");
        far.write_all(b"220 gr\xfczi\r\n250 injected\r\n").await.unwrap();
        let mut reader = transport.clone();
        let mut buf = [0; 64];
        for line in [&b"220 go\r\n"[..], b"220 gr?zi\r\n"] {
            let n = reader.read(&mut buf).await.unwrap();
            assert_eq!(&buf[..n], line);
        }
        drop(reader);
        let error = transport.into_stream(Service::Smtp).err().unwrap();
        assert_eq!(error, NetError::Tls { service: Service::Smtp, problem: TlsProblem::Injected });
    }

    #[tokio::test]
    async fn silence_a_cut_and_a_flood_are_told_apart() {
        let failure = |t: &Transport| t.failure(Service::Imap, "NOOP");
        let (far, near) = duplex(4096);
        let mut silent = Transport::new(Box::new(near), Duration::from_millis(1), 10);
        assert!(silent.read_u8().await.is_err());
        assert!(matches!(failure(&silent), NetError::Timeout { .. }));
        drop(far);
        let (far, near) = duplex(4096);
        let mut cut = Transport::new(Box::new(near), PATIENCE, 10);
        drop(far);
        assert!(cut.read_u8().await.is_err());
        assert!(matches!(failure(&cut), NetError::Closed { .. }));
        let (mut far, near) = duplex(4096);
        let mut flood = Transport::new(Box::new(near), PATIENCE, 10);
        far.write_all(&[b'x'; 11]).await.unwrap();
        assert!(flood.read_exact(&mut [0; 11]).await.is_err());
        assert!(matches!(failure(&flood), NetError::Protocol { .. }));
    }

    #[tokio::test]
    async fn the_final_dot_counts_only_when_the_other_side_took_it() {
        let (mut far, near) = duplex(8);
        let mut transport = Transport::new(Box::new(near), PATIENCE, 10);
        transport.write_all(b"end of mail\r\n.\r\n").await.unwrap();
        assert!(!transport.wrote_dot(), "nothing is flushed yet");
        let mut got = [0; 16];
        let (flushed, read) = tokio::join!(transport.flush(), far.read_exact(&mut got));
        flushed.unwrap();
        assert_eq!((read.unwrap(), transport.wrote_dot()), (16, true));
    }
}
