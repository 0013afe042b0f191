//! The practice that is frozen: its keys are fixed, its servers are new each time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::common::ledger::sql;
use crate::common::play::Play;
use crate::common::scene::{OFFICE, Scene};
use crate::common::{Lab, Person, Practice, PracticeOptions};

/// Of the tests, and published.
const RECORD_KEY: &[u8; 32] = b"cadre frozen schemas, test only!";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schemas")
}

/// The dump of a schema's database.
pub fn frozen(number: u32) -> PathBuf {
    data().join(format!("{number:04}.sql"))
}

/// The journal's head file that stood beside it.
pub fn head_file(number: u32) -> PathBuf {
    data().join(format!("{number:04}.head"))
}

/// The schemas that there are databases of.
pub fn schemas() -> Result<BTreeSet<u32>> {
    let names = fs::read_dir(data())?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
        .map(|number| number.parse().with_context(|| number.clone()))
        .collect()
}

/// A table that has no rows in the frozen database of this schema: the program of the first one counted nothing yet,
/// and knew no way to break a parser. Gateways have leases on a server only: with SQLite there are none.
pub fn may_be_empty(number: u32, table: &str) -> bool {
    table == "lease" || (number == 1 && ["counter", "tries"].contains(&table))
}

/// A practice with the fixed keys and no clients, run by `binary`.
pub fn bare(number: u32, binary: &Path) -> Result<Scene> {
    let lab = Lab::light()?;
    let office = Person::with_key(&lab, "office", "", OFFICE, &data().join("practice.key.asc"))?;
    let therapist = Person::persona(&lab, "exemple")?;
    let marie = Person::persona(&lab, "marie")?;
    let paul = Person::persona(&lab, "paul")?;
    for client in [&marie, &paul] {
        client.meet(&office)?;
    }
    let options = PracticeOptions { forward: "each".into(), ..PracticeOptions::default() };
    let practice = Practice::write(&lab, binary, &office, &therapist, &options)?;
    fs::write(practice.dir.join("record.key"), RECORD_KEY)?;
    if number >= 2 {
        second_therapists(&lab, &practice)?;
    }
    Ok(Scene { practice, office, therapist, marie, paul, c1: String::new(), c2: String::new(), lab })
}

/// One who stands in for the first, and one whose key isn't known yet.
fn second_therapists(lab: &Lab, practice: &Practice) -> Result<()> {
    let second = Person::persona(lab, "second")?;
    fs::write(practice.dir.join("second.pgp"), second.certificate()?)?;
    let mut text = fs::read_to_string(&practice.config)?;
    for (id, number) in [("second", 1), ("third", 2)] {
        text.push_str(&format!(
            "\n[[therapist]]\nid = \"{id}\"\nname = \"Dr {id}\"\ntitle = \"Psychologue\"\nregister = \"RPPS 1000000000{number}\"\n\
             country = \"FR\"\naddress = \"{id}@exemple.example\"\ncertificate = \"{id}.pgp\"\nforward = \"each\"\n"
        ));
    }
    fs::write(&practice.config, text)?;
    practice.set("therapist.0.locum", "\"second\"")
}

/// A frozen practice as it stood, and the program that cargo built to go on with it.
pub fn open(number: u32) -> Result<Play> {
    let mut scene = bare(number, &Practice::built_binary()?)?;
    let database = scene.practice.dir.join("cadre.db");
    fs::write(&database, b"")?;
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600))?;
    sql(&scene.practice, &fs::read_to_string(frozen(number))?)?;
    fs::copy(head_file(number), scene.practice.dir.join("journal.head"))?;
    let code = |nth: u32| sql(&scene.practice, &format!("SELECT code FROM client ORDER BY id LIMIT 1 OFFSET {nth}"));
    (scene.c1, scene.c2) = (code(0)?, code(1)?);
    Ok(Play::on(scene))
}
