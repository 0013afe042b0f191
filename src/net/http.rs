//! As much HTTP as the operator's day needs: pages to be read on this machine, and one address to be asked for.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::{NetError, Service};
use super::tls::{Io, dial, protect};

/// How many are answered at once; others wait.
const CONNECTIONS: usize = 8;
/// Bytes of a request's head.
const LARGEST_HEAD: usize = 8 << 10;
/// How long a request may take to come in, and how long a connection lasts in all.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const CONNECTION_WITHIN: Duration = Duration::from_secs(20);
/// How long an answer is waited for, each step of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where pages are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Such as 200, 503.
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Page {
    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// An open place; a socket's file goes when it is dropped.
pub struct Listener(Door);

impl Listener {
    /// Opens the place. A socket that a program left behind which was killed is replaced; one that is listened to isn't.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => Ok(Self(Door::Tcp(TcpListener::bind(address).await?))),
            Place::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                // The group's programs read it too: it holds counts.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self(Door::Unix(listener, path.clone())))
            }
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match &self.0 {
            Door::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Door::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }

    /// Answers for as long as it is polled: GET and HEAD of any path, by `answer`. Each connection serves one request.
    pub async fn serve<A, F>(&self, answer: A)
    where
        A: Fn(String) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Page> + Send + 'static,
    {
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        let mut guests = tokio::task::JoinSet::new();
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            while guests.try_join_next().is_some() {}
            let Ok(stream) = self.accept().await else {
                // No descriptor is free, say: the next moment is another one.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let answer = answer.clone();
            guests.spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_WITHIN)
                    .max_buf_size(LARGEST_HEAD)
                    .keep_alive(false)
                    .serve_connection(
                        TokioIo::new(stream),
                        service_fn(move |request| respond(request, answer.clone())),
                    );
                // Whoever breaks off or babbles is not worth a line in the log.
                let _ = timeout(CONNECTION_WITHIN, connection).await;
                drop(seat);
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Door::Unix(_, path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if file.file_type().is_socket() => match tokio::net::UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        },
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

async fn respond<A, F>(request: Request<Incoming>, answer: A) -> Result<Response<Full<Bytes>>, Infallible>
where
    A: Fn(String) -> F,
    F: Future<Output = Page>,
{
    let known = [Method::GET, Method::HEAD].contains(request.method());
    let page = if known {
        answer(request.uri().path().to_owned()).await
    } else {
        Page::text(StatusCode::METHOD_NOT_ALLOWED.as_u16(), "only GET and HEAD\n")
    };
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !known {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

/// Asks for an address and gives the status of the answer. Nothing but the address is said; redirections aren't
/// followed, and the answer's body isn't read. `http://` is for loopback only.
///
/// # Errors
/// [`NetError`] of the heartbeat's server.
pub async fn get(url: &Uri) -> Result<u16, NetError> {
    const SERVICE: Service = Service::Heartbeat;
    let clear = url.scheme_str() != Some("https");
    let unusable = NetError::Unsupported { service: SERVICE, what: "its address has no host" };
    let host = url.host().ok_or(unusable)?.trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if clear { 80 } else { 443 });
    let stream: Box<dyn Io> = Box::new(dial(SERVICE, host, port, clear, PATIENCE).await?);
    let stream = if clear { stream } else { protect(SERVICE, host, None, stream, PATIENCE).await? };
    let broken = |_| NetError::Closed { service: SERVICE, doing: "GET" };
    let late = |_| NetError::Timeout { service: SERVICE, doing: "GET" };
    let asked = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with this function, however that ends.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let path = url.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        let authority = url.authority().map_or("", hyper::http::uri::Authority::as_str);
        let request = Request::builder().uri(path).header(HOST, authority).body(Empty::<Bytes>::new());
        let request =
            request.map_err(|_| NetError::Unsupported { service: SERVICE, what: "its address can't be asked for" })?;
        Ok::<u16, NetError>(sender.send_request(request).await.map_err(broken)?.status().as_u16())
    };
    timeout(PATIENCE, asked).await.map_err(late)?
}
