//! A real PostgreSQL, of this test binary alone (`postgres.sh`), ended with the process.
//!
//! With `CADRE_TEST_DATABASE=postgres` every [`super::Practice`] has a schema of its own there instead of a file.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::lab::run;

/// Whether the tests are to run on PostgreSQL.
pub fn wanted() -> bool {
    std::env::var("CADRE_TEST_DATABASE").is_ok_and(|database| database == "postgres")
}

/// Whether a test of what is SQLite's own is left out here; says why.
pub fn left_out(why: &str) -> bool {
    if wanted() {
        eprintln!("left out on PostgreSQL: {why}");
    }
    wanted()
}

/// A practice's schema.
#[derive(Clone, Debug)]
pub struct Place {
    /// As `[database] url` has it.
    pub url: String,
    pub schema: String,
    cluster: &'static Cluster,
}

impl Place {
    /// A schema that isn't there yet.
    pub fn new() -> Result<Self> {
        let cluster = Cluster::shared()?;
        let schema = format!("t{}", super::mail::nonce());
        let socket = cluster.socket().display().to_string().replace('/', "%2F");
        Ok(Self { url: format!("postgres://practice@{socket}/postgres"), schema, cluster })
    }

    /// The place that the configuration in a practice's folder names, if it names one of this cluster.
    pub fn of(practice: &Path) -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(practice.join("cadre.toml")) else { return Ok(None) };
        let text: toml_edit::DocumentMut = text.parse()?;
        let word = |key: &str| text.get("database").and_then(|part| part.get(key)).and_then(|value| value.as_str());
        let (Some(url), Some(schema)) = (word("url"), word("schema")) else { return Ok(None) };
        Ok(Some(Self { url: url.to_owned(), schema: schema.to_owned(), cluster: Cluster::shared()? }))
    }

    /// The first column of the last row, as text; empty when there is none. Neither foreign keys nor triggers are asked.
    pub fn sql(&self, statement: &str) -> Result<String> {
        let options = format!("-c search_path={} -c session_replication_role=replica", self.schema);
        let mut psql = self.cluster.psql();
        let out = run(psql.env("PGOPTIONS", options).args(["-F", "\u{1f}", "-c", statement]))?;
        Ok(out.lines().last().unwrap_or_default().split('\u{1f}').next().unwrap_or_default().to_owned())
    }

    /// The schema as statements.
    pub fn dump(&self) -> Result<String> {
        let mut dump = Command::new(self.cluster.programs.join("pg_dump"));
        dump.args(["-U", "owner", "-d", "postgres", "--schema", &self.schema, "-h"]).arg(self.cluster.socket());
        run(&mut dump)
    }

    /// Puts what [`Place::dump`] gave in the place of what there is.
    pub fn put_back(&self, dump: &str) -> Result<()> {
        self.feed(&format!("DROP SCHEMA {} CASCADE;\n{dump}", self.schema))
    }

    fn feed(&self, script: &str) -> Result<()> {
        let mut psql = self.cluster.psql();
        psql.env("PGOPTIONS", format!("-c search_path={} -c client_min_messages=warning", self.schema));
        let mut child = psql.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("psql")?;
        child.stdin.take().context("psql without stdin")?.write_all(script.as_bytes())?;
        ensure!(child.wait()?.success(), "psql failed on {}", self.schema);
        Ok(())
    }

    /// Nobody else writes into the schema during this, as when somebody with `psql` holds its tables.
    pub fn hold(&self, during: impl FnOnce() -> Result<()>) -> Result<()> {
        let tables = self.tables()?.join(", ");
        let mut psql = self.cluster.psql();
        psql.env("PGOPTIONS", format!("-c search_path={}", self.schema)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.args(["-f", "-"]).spawn().context("psql")?;
        let mut input = child.stdin.take().context("psql without stdin")?;
        let mut said = BufReader::new(child.stdout.take().context("psql without stdout")?);
        writeln!(input, "BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE; SELECT 'held';")?;
        let mut line = String::new();
        said.read_line(&mut line)?;
        ensure!(line.trim() == "held", "psql said {line:?}");
        let outcome = during();
        drop(input);
        child.wait()?;
        outcome
    }

    fn tables(&self) -> Result<Vec<String>> {
        let tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'r' AND relnamespace = \
                      current_schema()::regnamespace";
        Ok(self.sql(tables)?.split(' ').map(str::to_owned).collect())
    }

    /// Where words of this practice may rest: the cluster's files, write-ahead log and server's log included, and the
    /// rows as octets, which the server may have compressed in its files. The copies are in `into`.
    pub fn at_rest(&self, into: &Path) -> Result<Vec<PathBuf>> {
        let mut script = String::new();
        for table in self.tables()? {
            let file = into.join(&table).display().to_string();
            script.push_str(&format!("\\copy {table} to '{file}' (format binary)\n"));
        }
        self.feed(&script)?;
        let data = self.cluster.dir.join("d");
        let mut places = vec![into.to_owned(), self.cluster.dir.join("log")];
        for entry in fs::read_dir(&data)?.flatten().filter(|entry| entry.file_name() != "base") {
            places.push(entry.path());
        }
        // The two templates are the same in every cluster.
        let databases = fs::read_dir(data.join("base"))?.flatten();
        places.extend(databases.filter(|e| e.file_name() != "1" && e.file_name() != "4").map(|e| e.path()));
        Ok(places)
    }
}

/// The server of this process.
#[derive(Debug)]
struct Cluster {
    dir: PathBuf,
    programs: PathBuf,
    /// Closed when the process ends, however it ends: the helper at the other end then ends the server.
    _life: ChildStdin,
}

impl Cluster {
    fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<std::result::Result<Cluster, String>> = OnceLock::new();
        let made = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|error| anyhow!("no PostgreSQL: {error}"))
    }

    fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/postgres.sh");
        let mut helper = Command::new(script);
        helper.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut helper = helper.spawn().context("tests/common/postgres.sh can't be started")?;
        let life = helper.stdin.take().context("a helper without standard input")?;
        let mut said = String::new();
        BufReader::new(helper.stdout.take().context("a helper without standard output")?).read_line(&mut said)?;
        let (dir, programs) = said.trim().split_once(' ').context("PostgreSQL doesn't start")?;
        Ok(Self { dir: dir.into(), programs: programs.into(), _life: life })
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "owner", "-d", "postgres", "-h"]);
        psql.arg(self.socket());
        psql
    }
}
