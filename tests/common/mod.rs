//! The test laboratory: real servers, real correspondents, the real program.
//!
//! Shared by the integration tests (`mod common;`), by `examples/demo.rs` and by `benches/` through
//! `#[path = "../tests/common/mod.rs"]`. Every user takes a part of it only, hence the one `allow`.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of the laboratory")]

pub mod canary;
pub mod corpus;
pub mod fault;
pub mod lab;
pub mod ledger;
pub mod mail;
pub mod person;
pub mod play;
pub mod postgres;
pub mod practice;
pub mod registry;
pub mod scene;
pub mod sink;
pub mod terminal;
pub mod wire;

pub use canary::canary;
pub use fault::{Fault, FaultProxy};
pub use lab::{Lab, LabOptions, Namespace, Smtp};
pub use person::{Form, Letter, Person, Read};
pub use practice::{Daemon, Output, Practice, PracticeOptions};
pub use sink::{Answer, Caught, Sink};
