//! Where log lines go: to the systemd journal with fields, or to standard error. The libraries that could log content
//! are silent.

use std::io;
use std::os::fd::AsFd as _;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use super::args::{Level, LogFormat};
use super::colour;

/// Begins to log.
pub(super) fn begin(level: Level, format: LogFormat) {
    // Only Cadre's own lines: what libraries say could hold content, names or addresses.
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let filter = EnvFilter::new(format!("off,cadre={level}"));
    let registry = tracing_subscriber::registry().with(filter);
    let wants_journal = match format {
        LogFormat::Journal => true,
        LogFormat::Auto => std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream)),
        LogFormat::Text | LogFormat::Json => false,
    };
    let journal = if wants_journal { tracing_journald::layer().ok() } else { None };
    let text = || tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    if let Some(journal) = journal {
        // `client` becomes CADRE_CLIENT, which `journalctl CADRE_CLIENT=C-7K2M` finds.
        let levels =
            PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
        let journal = journal.with_field_prefix(Some("CADRE".to_owned())).with_syslog_identifier("cadre".to_owned());
        registry.with(journal.with_priority_mappings(levels)).init();
    } else if format == LogFormat::Json {
        registry.with(text().json().flatten_event(true)).init();
    } else {
        registry.with(text().with_ansi(colour::on(&io::stderr()))).init();
    }
}

/// Whether `JOURNAL_STREAM` (device and inode, systemd.exec(5)) speaks of this process's standard error: a child whose
/// output was turned elsewhere inherits the variable too.
fn is_stderr(stream: &str) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let stderr = nix::sys::stat::fstat(io::stderr().as_fd());
    stderr.is_ok_and(|file| device.parse() == Ok(file.st_dev) && inode.parse() == Ok(file.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processs_stream_is_not_ours() {
        let file = nix::sys::stat::fstat(io::stderr().as_fd()).unwrap();
        assert!(is_stderr(&format!("{}:{}", file.st_dev, file.st_ino)));
        assert!(!is_stderr(&format!("{}:{}", file.st_dev, file.st_ino + 1)));
        assert!(!is_stderr("") && !is_stderr("8:") && !is_stderr("stderr"));
    }
}
