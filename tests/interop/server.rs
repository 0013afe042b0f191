//! Programs that are libraries: OpenPGP.js and PGPy, each kept running behind one line of JSON a question.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cadre::pgp::Certificate;
use serde_json::{Value, json};

use super::program::{How, Opened, Program};
use super::world::{Key, World};

struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The clock it was started with.
    ahead: i64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A library in its language's interpreter. Dropping it ends the interpreter.
pub struct Server {
    name: &'static str,
    running: Mutex<Option<Running>>,
}

impl Server {
    pub fn openpgpjs() -> Self {
        Self { name: "openpgpjs", running: Mutex::default() }
    }

    pub fn pgpy() -> Self {
        Self { name: "pgpy", running: Mutex::default() }
    }

    fn start(&self, world: &World) -> Result<Running> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let (interpreter, script) = match self.name {
            "openpgpjs" => (PathBuf::from("node"), scripts.join("openpgpjs.mjs")),
            _ => (world.peers.join("py/bin/python"), scripts.join("pgpy_peer.py")),
        };
        let mut command = world.command(&interpreter)?;
        command.arg(script).arg(&world.peers).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .with_context(|| format!("{} can't be started: `make deps` installs it", interpreter.display()))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Running { child, stdin, stdout, ahead: world.ahead() })
    }

    fn ask(&self, world: &World, question: &Value) -> Result<Value> {
        let mut running = self.running.lock().map_err(|_| anyhow!("poisoned"))?;
        if running.as_ref().is_none_or(|now| now.ahead != world.ahead()) {
            *running = Some(self.start(world)?);
        }
        let now = running.as_mut().context("not running")?;
        writeln!(now.stdin, "{question}")?;
        now.stdin.flush()?;
        let mut line = String::new();
        ensure!(now.stdout.read_line(&mut line)? > 0, "{} ended", self.name);
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{error}");
        }
        Ok(answer)
    }

    fn bytes(answer: &Value, field: &str) -> Result<Vec<u8>> {
        Ok(STANDARD.decode(answer[field].as_str().context("an answer without its field")?)?)
    }
}

fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

impl Program for Server {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self, world: &World) -> Result<String> {
        let answer = self.ask(world, &json!({ "op": "version" }))?;
        let version = answer["version"].as_str().unwrap_or_default().to_owned();
        Ok(if self.name == "pgpy" { format!("PGPy {version}") } else { version })
    }

    fn generate(&self, world: &World, address: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let answer = self.ask(world, &json!({ "op": "generate", "user": address }))?;
        let certificate = Self::bytes(&answer, "certificate")?;
        ensure!(Certificate::from_bytes(&certificate).is_ok(), "Cadre can't read the certificate");
        Ok((Self::bytes(&answer, "secret")?, certificate))
    }

    fn encrypt(&self, world: &World, key: &Key, to: &Key, data: &[u8], how: How) -> Result<Vec<u8>> {
        ensure!(!how.hidden || self.name == "openpgpjs", "the library has no hidden recipients");
        let (key, to, data) = (b64(&key.secret), b64(&to.certificate), b64(data));
        let question =
            json!({ "op": "encrypt", "key": key, "to": to, "data": data, "sign": how.sign, "hidden": how.hidden });
        Self::bytes(&self.ask(world, &question)?, "out")
    }

    fn sign(&self, world: &World, key: &Key, data: &[u8]) -> Result<Vec<u8>> {
        let question = json!({ "op": "sign", "key": b64(&key.secret), "data": b64(data) });
        Self::bytes(&self.ask(world, &question)?, "out")
    }

    fn clearsign(&self, world: &World, key: &Key, text: &str) -> Result<Vec<u8>> {
        let question = json!({ "op": "clearsign", "key": b64(&key.secret), "data": b64(text.as_bytes()) });
        Self::bytes(&self.ask(world, &question)?, "out")
    }

    fn decrypt(&self, world: &World, key: &Key, from: &Key, message: &[u8]) -> Result<Opened> {
        let (key, from) = (b64(&key.secret), b64(&from.certificate));
        let answer = self.ask(world, &json!({ "op": "decrypt", "key": key, "from": from, "data": b64(message) }))?;
        Ok(Opened { data: Self::bytes(&answer, "data")?, good: answer["good"] == true })
    }

    fn verify(&self, world: &World, from: &Key, data: &[u8], signature: &[u8]) -> Result<bool> {
        let (from, signature) = (b64(&from.certificate), b64(signature));
        let answer =
            self.ask(world, &json!({ "op": "verify", "from": from, "signature": signature, "data": b64(data) }))?;
        Ok(answer["good"] == true)
    }
}
