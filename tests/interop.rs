//! Every OpenPGP program that a patient may use, there and back (SPEC sections 3 and 13).
//!
//! The programs are real: GnuPG, Sequoia's `sq` and `sqop`, RNP (Thunderbird's), rPGP's `rsop` (Delta Chat's),
//! OpenPGP.js (Proton's, Mailvelope's, FlowCrypt's), PGPy, a Delta Chat core, neomutt. Debian's come with
//! `deploy/install-deps.sh`, the others with `tests/peers/install.sh`. Each table is printed, and kept in the
//! target folder as `tmp/interop/*.txt`.

mod common;

#[path = "interop/compose.rs"]
mod compose;
#[path = "interop/delta.rs"]
mod delta;
#[path = "interop/keys.rs"]
mod keys;
#[path = "interop/looks.rs"]
mod looks;
#[path = "interop/neomutt.rs"]
mod neomutt;
#[path = "interop/options.rs"]
mod options;
#[path = "interop/program.rs"]
mod program;
#[path = "interop/relays.rs"]
mod relays;
#[path = "interop/ring.rs"]
mod ring;
#[path = "interop/server.rs"]
mod server;
#[path = "interop/shapes.rs"]
mod shapes;
#[path = "interop/stage.rs"]
mod stage;
#[path = "interop/table.rs"]
mod table;
#[path = "interop/world.rs"]
mod world;
