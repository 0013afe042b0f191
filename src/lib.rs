//! Cadre, a gateway for psychotherapy by e-mail.
//!
//! The map of the house: `cli` calls `app`, the only place where things meet; `app` calls the pure
//! rules of `domain`, the formats `mime`, `pgp`, `pdf` and `letters`, and the outside world through `store`
//! and `net`, as `config` says. All of them know `model`, `secret` and `clock`; none of them knows
//! another. `ARCHITECTURE.md` states the invariants and names the test of each.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod failpoint;
pub mod letters;
pub mod mime;
pub mod model;
pub mod net;
pub mod notify;
pub mod pdf;
pub mod pgp;
pub mod secret;
pub mod store;
