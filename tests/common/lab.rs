//! A real Dovecot and a real Postfix, configured from nothing in a temporary folder, on free ports
//! of 127.0.0.1. No server of the machine is touched; nothing can leave it.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::sink::Sink;
use super::wire::{Imap, lmtp_deliver, smtp_send};

/// The one password of every mailbox in the laboratory.
pub const PASSWORD: &str = "laboratoire";

/// How long the laboratory waits for something that ought to happen at once. A machine that is slow and busy with other
/// tests needs much of it; where all goes well it costs nothing.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks `probe` again and again until it yields a value, or fails after `limit`, naming `what`.
///
/// This is a level-triggered wait: the short pause only keeps the loop from burning a core.
pub fn wait<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port of 127.0.0.1 that refuses, and that no other program gets as long as this lives.
pub struct ClosedPort(tokio::net::TcpSocket);

impl ClosedPort {
    pub fn new() -> Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        Ok(Self(socket))
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }
}

/// Ports of 127.0.0.1 that were free a moment ago, all different. Another program may take one meanwhile: whoever uses
/// them starts again with others when the server can't bind.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is had: a port that was let go can come again.
    let held = (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<std::io::Result<Vec<_>>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// How Dovecot names folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// No prefix, `/` between levels: `Cadre/Attention`.
    #[default]
    Slash,
    /// Prefix `INBOX.`, `.` between levels: `INBOX.Cadre.Attention` (many shared hosts).
    InboxDot,
}

/// What takes mail over SMTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Smtp {
    /// A real Postfix that delivers over LMTP to Dovecot. Needs root.
    #[default]
    Postfix,
    /// The laboratory's own scripted listener ([`Sink`]), delivering what it accepts to Dovecot.
    Relay,
    /// Nothing: the test brings its own.
    None,
}

/// What a laboratory is to be like.
#[derive(Clone, Debug)]
pub struct LabOptions {
    pub smtp: Smtp,
    pub namespace: Namespace,
    /// A self-made authority and certificate; IMAP and SMTP then offer STARTTLS, and implicit TLS on further ports.
    pub tls: bool,
    /// Largest mail that Postfix takes, bytes.
    pub max_message: u64,
    /// Domains whose every address is a mailbox.
    pub domains: Vec<String>,
    /// More lines for `dovecot.conf`, for example `imap_capability = …`.
    pub dovecot_extra: String,
    /// More lines for `main.cf`.
    pub postfix_extra: String,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            smtp: Smtp::Postfix,
            namespace: Namespace::Slash,
            tls: false,
            max_message: 50 * 1024 * 1024,
            domains: [
                "cabinet.example",
                "exemple.example",
                "client.example",
                "autre.example",
                "stranger.example",
                "evil.example",
            ]
            .map(str::to_owned)
            .to_vec(),
            dovecot_extra: String::new(),
            postfix_extra: String::new(),
        }
    }
}

/// Running servers. Dropping it ends them and removes the folder, unless [`Lab::keep`] was called
/// or the environment has `KEEP=1`.
pub struct Lab {
    pub dir: PathBuf,
    pub imap_port: u16,
    /// IMAP with TLS from the first byte, where `tls` was asked for.
    pub imaps_port: u16,
    pub lmtp_port: u16,
    pub smtp_port: u16,
    /// SMTP with TLS from the first byte, where `tls` was asked for and Postfix runs.
    pub smtps_port: u16,
    /// The scripted listener of [`Smtp::Relay`].
    pub sink: Option<Sink>,
    options: LabOptions,
    reaper: Option<Child>,
    keep: bool,
}

impl Lab {
    /// Dovecot and Postfix without TLS.
    pub fn start() -> Result<Self> {
        Self::with(LabOptions::default())
    }

    /// Dovecot, and the in-process listener instead of Postfix: starts in a tenth of a second and works without root.
    pub fn light() -> Result<Self> {
        Self::with(LabOptions { smtp: Smtp::Relay, ..LabOptions::default() })
    }

    pub fn with(options: LabOptions) -> Result<Self> {
        sweep_faketime();
        if options.smtp == Smtp::Postfix && !is_root() {
            bail!("Postfix can't be started by an ordinary user: run this as root (in a container, or with sudo)");
        }
        // Short, because the path of a Unix socket ends at 108 bytes.
        let dir = tempfile::Builder::new().prefix("cl").rand_bytes(6).tempdir_in("/tmp")?.keep();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let mut lab = Self {
            reaper: Some(reaper(&dir)?),
            dir,
            imap_port: 0,
            imaps_port: 0,
            lmtp_port: 0,
            smtp_port: 0,
            smtps_port: 0,
            sink: None,
            options,
            keep: std::env::var("KEEP").is_ok_and(|v| v == "1"),
        };
        for folder in ["d", "d/run", "d/mail", "p", "p/conf", "p/queue/private", "p/data", "tls"] {
            fs::create_dir_all(lab.dir.join(folder))?;
        }
        if lab.options.tls {
            make_certificates(&lab.dir.join("tls"))?;
        }
        if is_root() {
            chown("nobody", &lab.dir.join("d/mail"))?;
        }
        lab.first_start_of_dovecot()?;
        match lab.options.smtp {
            Smtp::Postfix => lab.first_start_of_postfix()?,
            Smtp::Relay => {
                let sink = Sink::relaying(lab.lmtp_port, lab.options.domains.clone())?;
                lab.smtp_port = sink.port;
                lab.sink = Some(sink);
            }
            Smtp::None => {}
        }
        Ok(lab)
    }

    /// Leaves servers and folder as they are when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// The self-made authority (PEM) that signed the servers' certificate; its names are `localhost` and 127.0.0.1.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("tls/ca.pem")
    }

    /// Where Dovecot keeps all the mail: what a thief of the disk would read.
    pub fn mail_root(&self) -> PathBuf {
        self.dir.join("d/mail")
    }

    pub fn dovecot_log(&self) -> PathBuf {
        self.dir.join("d/log")
    }

    pub fn postfix_log(&self) -> PathBuf {
        self.dir.join("p/log")
    }

    pub fn options(&self) -> &LabOptions {
        &self.options
    }

    /// A folder of Cadre's or a client's in this laboratory's spelling: `folder(&["Cadre", "Attention"])`.
    pub fn folder(&self, levels: &[&str]) -> String {
        match self.options.namespace {
            Namespace::Slash => levels.join("/"),
            Namespace::InboxDot if levels == ["INBOX"] => "INBOX".to_owned(),
            Namespace::InboxDot => format!("INBOX.{}", levels.join(".")),
        }
    }

    /// A session logged in as `user` (an address).
    pub fn imap(&self, user: &str) -> Result<Imap> {
        let mut imap = Imap::connect(self.imap_port)?;
        imap.login(user, PASSWORD)?;
        Ok(imap)
    }

    /// Every mail of one folder, oldest first, seen flags untouched. A folder that doesn't exist is empty.
    pub fn mails(&self, user: &str, folder: &str) -> Result<Vec<Vec<u8>>> {
        let mut imap = self.imap(user)?;
        if !imap.folders()?.iter().any(|f| f.eq_ignore_ascii_case(folder)) {
            return Ok(Vec::new());
        }
        imap.fetch_all(folder)
    }

    /// Folder name and number of mails, for every folder of `user` that can be opened.
    pub fn census(&self, user: &str) -> Result<Vec<(String, usize)>> {
        let mut imap = self.imap(user)?;
        let folders = imap.folders()?;
        folders.into_iter().map(|f| imap.select(&f).map(|n| (f, n))).collect()
    }

    /// Waits until the folder has at least `count` mails and returns all of them.
    pub fn wait_mails(&self, user: &str, folder: &str, count: usize) -> Result<Vec<Vec<u8>>> {
        wait(&format!("{count} mail(s) in {folder} of {user}"), PATIENCE, || {
            let mails = self.mails(user, folder)?;
            Ok((mails.len() >= count).then_some(mails))
        })
    }

    /// Puts a mail into a folder over IMAP, with an arrival time (`"02-Mar-2026 06:30:00 +0000"`) if given.
    pub fn append(&self, user: &str, folder: &str, raw: &[u8], internal_date: Option<&str>) -> Result<()> {
        self.imap(user)?.append(folder, raw, internal_date)
    }

    /// Hands mails to Dovecot over LMTP, past any SMTP server: for speed.
    pub fn deliver(&self, from: &str, to: &str, raw: &[u8]) -> Result<()> {
        lmtp_deliver(self.lmtp_port, from, to, raw)
    }

    /// Sends a mail over SMTP; `from` may be empty (a bounce's return path).
    pub fn send(&self, from: &str, to: &str, raw: &[u8]) -> Result<()> {
        smtp_send(self.smtp_port, from, &[to], raw)
    }

    /// Ends Dovecot: its ports refuse from now on.
    pub fn stop_imap(&self) -> Result<()> {
        // At the word it closes its ports and tells its helpers; then it only waits for them, seconds long.
        end_process(&self.dir.join("d/run/master.pid"), "Dovecot", Duration::from_millis(300))
    }

    /// Starts Dovecot again, on the same ports, with the mail it had. While it was away some other program's connection
    /// may have been given one of them, for as long as it lasts.
    pub fn start_imap(&self) -> Result<()> {
        wait("Dovecot's own ports", PATIENCE, || match self.run_dovecot() {
            Ok(()) => Ok(Some(())),
            Err(error) if format!("{error:#}").contains("ddress already in use") => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Cuts every open IMAP connection of `user`, as a failing network would.
    pub fn cut_imap(&self, user: &str) -> Result<()> {
        // Status 68 says that nobody was connected.
        let conf = self.dir.join("d/dovecot.conf");
        let out = Command::new("doveadm").arg("-c").arg(conf).args(["kick", user]).output()?;
        match out.status.code() {
            Some(0 | 68) => Ok(()),
            _ => bail!("doveadm kick failed: {}", String::from_utf8_lossy(&out.stderr)),
        }
    }

    pub fn stop_smtp(&self) -> Result<()> {
        end_process(&self.dir.join("p/queue/pid/master.pid"), "Postfix", Duration::from_secs(5))
    }

    pub fn start_smtp(&self) -> Result<()> {
        self.run_postfix()
    }

    /// What Postfix hasn't delivered yet, as `postqueue -j` says.
    pub fn postfix_queue(&self) -> Result<String> {
        let conf = self.dir.join("p/conf");
        let out = Command::new("postqueue").arg("-c").arg(conf).arg("-j").output()?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Waits until Postfix has nothing left in its queue.
    pub fn wait_queue_empty(&self) -> Result<()> {
        wait("an empty Postfix queue", PATIENCE, || Ok(self.postfix_queue()?.trim().is_empty().then_some(())))
    }

    /// The process ids of the servers that run now: (Dovecot's master, Postfix's master).
    pub fn pids(&self) -> (Option<i32>, Option<i32>) {
        (read_pid(&self.dir.join("d/run/master.pid")), read_pid(&self.dir.join("p/queue/pid/master.pid")))
    }

    fn first_start_of_dovecot(&mut self) -> Result<()> {
        with_free_ports("Dovecot", || {
            [self.imap_port, self.imaps_port, self.lmtp_port] = free_ports()?;
            fs::write(self.dir.join("d/dovecot.conf"), self.dovecot_conf()?)?;
            self.run_dovecot()
        })
    }

    fn run_dovecot(&self) -> Result<()> {
        let conf = self.dir.join("d/dovecot.conf");
        let (status, said) = start_daemon(Command::new("dovecot").arg("-c").arg(conf), &self.dir.join("d/said"))
            .context("dovecot can't be started: is dovecot-imapd installed? (`make deps` installs it)")?;
        let log = fs::read_to_string(self.dovecot_log()).unwrap_or_default();
        if !status {
            bail!("dovecot ended at once: {said}{log}");
        }
        wait_port(self.imap_port, "* OK").with_context(|| log.clone())?;
        wait_port(self.lmtp_port, "220").with_context(|| log.clone())
    }

    fn dovecot_conf(&self) -> Result<String> {
        let dir = self.dir.join("d").display().to_string();
        let (separator, prefix) = match self.options.namespace {
            Namespace::Slash => ("/", ""),
            Namespace::InboxDot => (".", "INBOX."),
        };
        let identity = if is_root() {
            "first_valid_uid = 1\nuserdb {\n driver = static\n args = uid=nobody gid=nogroup home=HOME allow_all_users=yes\n}\n"
                .replace("HOME", &format!("{dir}/mail/%Lu"))
        } else {
            let (user, group) = (whoami("-un")?, whoami("-gn")?);
            format!(
                "first_valid_uid = 1\ndefault_internal_user = {user}\ndefault_internal_group = {group}\n\
                 default_login_user = {user}\nservice anvil {{\n chroot =\n}}\nservice imap-login {{\n chroot =\n}}\n\
                 userdb {{\n driver = static\n args = uid={} gid={} home={dir}/mail/%Lu allow_all_users=yes\n}}\n",
                whoami("-u")?,
                whoami("-g")?
            )
        };
        let tls = match self.options.tls {
            false => "ssl = no\n".to_owned(),
            true => {
                format!("ssl = yes\nssl_cert = <{0}/tls/cert.pem\nssl_key = <{0}/tls/key.pem\n", self.dir.display())
            }
        };
        let sasl = match self.options.smtp {
            Smtp::Postfix => {
                format!(" unix_listener {}/p/queue/private/auth {{\n  mode = 0666\n }}\n", self.dir.display())
            }
            _ => String::new(),
        };
        let imaps = if self.options.tls { self.imaps_port } else { 0 };
        Ok(format!(
            "base_dir = {dir}/run\nstate_dir = {dir}/run\nlog_path = {dir}/log\nprotocols = imap lmtp\nlisten = 127.0.0.1\n\
             {tls}disable_plaintext_auth = no\nmail_location = maildir:{dir}/mail/%Lu/Maildir\nauth_mechanisms = plain login\n\
             auth_username_format = %Lu\nrecipient_delimiter = +\nlmtp_rcpt_check_quota = no\nmail_max_userip_connections = 200\n\
             auth_failure_delay = 0\ndefault_client_limit = 2000\npassdb {{\n driver = static\n args = password={PASSWORD}\n}}\n\
             {identity}\
             namespace inbox {{\n inbox = yes\n separator = {separator}\n prefix = {prefix}\n mailbox Junk {{\n  \
             special_use = \\Junk\n  auto = subscribe\n }}\n mailbox Sent {{\n  special_use = \\Sent\n  auto = subscribe\n }}\n}}\n\
             service imap-login {{\n inet_listener imap {{\n  port = {}\n }}\n inet_listener imaps {{\n  port = {imaps}\n  \
             ssl = {}\n }}\n service_count = 0\n}}\n\
             service lmtp {{\n inet_listener lmtp {{\n  port = {}\n }}\n}}\nservice auth {{\n{sasl}}}\n{}\n",
            self.imap_port,
            if self.options.tls { "yes" } else { "no" },
            self.lmtp_port,
            self.options.dovecot_extra,
        ))
    }

    fn first_start_of_postfix(&mut self) -> Result<()> {
        chown("postfix", &self.dir.join("p/data"))?;
        chown("postfix", &self.dir.join("p/queue/private"))?;
        with_free_ports("Postfix", || {
            [self.smtp_port, self.smtps_port] = free_ports()?;
            fs::write(self.dir.join("p/conf/main.cf"), self.main_cf())?;
            fs::write(self.dir.join("p/conf/master.cf"), self.master_cf())?;
            self.run_postfix()
        })
    }

    fn run_postfix(&self) -> Result<()> {
        let conf = self.dir.join("p/conf");
        let mut command = Command::new("postfix");
        let (status, said) = start_daemon(command.arg("-c").arg(conf).arg("start"), &self.dir.join("p/said"))
            .context("postfix can't be started: is it installed? (`make deps` installs it)")?;
        let log = fs::read_to_string(self.postfix_log()).unwrap_or_default();
        if !status {
            bail!("postfix ended at once: {said}{log}");
        }
        wait_port(self.smtp_port, "220").with_context(|| log)
    }

    fn main_cf(&self) -> String {
        let dir = self.dir.display();
        let tls = if self.options.tls {
            format!(
                "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {dir}/tls/cert.pem\n\
                 smtpd_tls_key_file = {dir}/tls/key.pem\n"
            )
        } else {
            "smtpd_tls_security_level = none\n".to_owned()
        };
        format!(
            "compatibility_level = 3.6\nqueue_directory = {dir}/p/queue\ndata_directory = {dir}/p/data\n\
             maillog_file = {dir}/p/log\nmaillog_file_prefixes = {dir}\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmyhostname = labo.example\nmydomain = example\nmydestination =\n\
             mynetworks = 127.0.0.0/8\nvirtual_mailbox_domains = {}\nvirtual_transport = lmtp:inet:127.0.0.1:{}\n\
             default_transport = error:5.4.4 nothing leaves the laboratory\n\
             relay_transport = error:5.4.4 nothing leaves the laboratory\nalias_maps =\nalias_database =\n\
             local_recipient_maps =\nbiff = no\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
             smtpd_peername_lookup = no\nsmtp_dns_support_level = disabled\nrecipient_delimiter = +\n\
             message_size_limit = {}\nmailbox_size_limit = 0\nvirtual_mailbox_limit = 0\n\
             smtpd_client_connection_count_limit = 0\nsmtpd_client_connection_rate_limit = 0\n\
             in_flow_delay = 0\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\n\
             smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n{tls}{}\n",
            self.options.domains.join(", "),
            self.lmtp_port,
            self.options.max_message,
            self.options.postfix_extra,
        )
    }

    fn master_cf(&self) -> String {
        let mut services = format!("127.0.0.1:{} inet n - n - - smtpd\n", self.smtp_port);
        if self.options.tls {
            services.push_str(&format!(
                "127.0.0.1:{} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n",
                self.smtps_port
            ));
        }
        services.push_str(
            "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n\
             bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\n\
             proxywrite unix - - n - 1 proxymap\nshowq unix n - n - - showq\nerror unix - - n - - error\n\
             retry unix - - n - - error\nlmtp unix - - n - - lmtp\nanvil unix - - n - 1 anvil\n\
             scache unix - - n - 1 scache\ntlsmgr unix - - n 1000? 1 tlsmgr\npostlog unix-dgram n - n - 1 postlogd\n",
        );
        services
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(mut reaper) = self.reaper.take() else { return };
        if self.keep {
            if let Some(mut pipe) = reaper.stdin.take() {
                let _ = pipe.write_all(b"keep\n");
            }
        } else {
            self.sink = None;
            for ended in [self.stop_smtp(), self.stop_imap()] {
                if let Err(e) = ended {
                    eprintln!("laboratory: {e:#}");
                }
            }
            drop(reaper.stdin.take());
        }
        let _ = reaper.wait();
    }
}

/// A helper that outlives this process by a moment: when the pipe to it closes, because the
/// laboratory was dropped or because the test was killed, it ends the servers and removes the folder.
fn reaper(dir: &Path) -> Result<Child> {
    let script = r#"trap '' INT
        read -r word; [ "$word" = keep ] && exit 0
        for f in d/run/master.pid p/queue/pid/master.pid; do
            [ -f "$f" ] && kill -TERM $(cat "$f") 2>/dev/null
        done
        for home in g/*/; do [ -d "$home" ] && gpgconf --homedir "$PWD/$home" --kill all 2>/dev/null; done
        n=0
        while [ $n -lt 50 ] && { [ -f d/run/master.pid ] && kill -0 $(cat d/run/master.pid) 2>/dev/null; }; do
            n=$((n+1)); sleep 0.1
        done
        here=$PWD; cd / && rm -rf "$here""#;
    Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("sh can't be started")
}

/// Runs `start` until the ports it took are really free: another program may be quicker than the server.
fn with_free_ports(what: &str, mut start: impl FnMut() -> Result<()>) -> Result<()> {
    let mut last = anyhow!("never tried");
    for _ in 0..5 {
        match start() {
            Ok(()) => return Ok(()),
            Err(e) => last = e,
        }
        if !format!("{last:#}").contains("ddress already in use") {
            break;
        }
    }
    Err(last.context(format!("{what} doesn't start")))
}

/// Waits until the port greets with `greeting`.
pub fn wait_port(port: u16, greeting: &str) -> Result<()> {
    use std::io::Read as _;
    wait(&format!("port {port} to answer"), PATIENCE, || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return Ok(None) };
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut start = [0; 64];
        let n = stream.read(&mut start).unwrap_or(0);
        Ok(String::from_utf8_lossy(&start[..n]).starts_with(greeting).then_some(()))
    })
}

fn read_pid(file: &Path) -> Option<i32> {
    let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    process_lives(pid).then_some(pid)
}

/// Whether a process with this id exists and isn't a zombie.
pub fn process_lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Asks the process named in `file` to end, waits for `grace`, and then kills it together with the group of
/// processes that it leads. No file, no process: nothing to do.
fn end_process(file: &Path, what: &str, grace: Duration) -> Result<()> {
    use nix::sys::signal::{Signal, kill, killpg};
    use nix::unistd::{Pid, getpgid};
    let Some(pid) = read_pid(file) else { return Ok(()) };
    let master = Pid::from_raw(pid);
    let leads = getpgid(Some(master)) == Ok(master);
    let gone = || Ok((!process_lives(pid)).then_some(()));
    kill(master, Signal::SIGTERM).with_context(|| format!("{what} can't be ended"))?;
    if wait(&format!("{what} to end"), grace, gone).is_err() {
        let _ = if leads { killpg(master, Signal::SIGKILL) } else { kill(master, Signal::SIGKILL) };
        wait(&format!("{what} to die"), PATIENCE, gone)?;
    }
    let _ = fs::remove_file(file);
    Ok(())
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn whoami(flag: &str) -> Result<String> {
    run(Command::new("id").arg(flag)).map(|out| out.trim().to_owned())
}

fn chown(user: &str, path: &Path) -> Result<()> {
    run(Command::new("chown").arg(user).arg(path)).map(drop)
}

/// Runs a program that goes into the background: whether it went well, and what it said. Into a file,
/// because the daemon keeps the other end of a pipe, which would never close.
fn start_daemon(command: &mut Command, said: &Path) -> Result<(bool, String)> {
    let file = fs::File::create(said)?;
    let status = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status()?;
    Ok((status.success(), fs::read_to_string(said)?))
}

/// Runs a tool to its end; its complaint becomes the error.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{name} can't be started"))?;
    if !out.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// libfaketime keeps a file a process in shared memory, and a killed process leaves it behind; the next one
/// that gets its number can't start then.
fn sweep_faketime() {
    let Ok(files) = fs::read_dir("/dev/shm") else { return };
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
        if owner.and_then(|pid| pid.parse().ok()).is_some_and(|pid: i32| !process_lives(pid)) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// An authority and a certificate for `localhost` and 127.0.0.1, valid from 2020 to 2050, so that
/// they hold for a program that runs under a faked clock.
fn make_certificates(dir: &Path) -> Result<()> {
    let openssl = |args: &[&str]| {
        let mut command = Command::new("faketime");
        command.current_dir(dir).arg("2020-01-01 00:00:00").arg("openssl").args(args);
        run(&mut command)
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "11000"];
    let authority = ["req", "-x509", "-subj", "/CN=Laboratoire", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&authority[..], &curve].concat())?;
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.csr"];
    openssl(&[&request[..], &curve[..5]].concat())?;
    fs::write(
        dir.join("ext"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n",
    )?;
    let sign = "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 11000 -extfile ext -out cert.pem";
    openssl(&sign.split(' ').collect::<Vec<_>>())?;
    Ok(())
}
