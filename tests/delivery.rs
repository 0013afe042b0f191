//! Mail that comes back, is delayed, or is answered by a machine (SPEC sections 3, 6 and 9), end to end.

mod common;

#[path = "delivery/absent.rs"]
mod absent;
#[path = "delivery/authserv.rs"]
mod authserv;
#[path = "delivery/forged.rs"]
mod forged;
#[path = "delivery/kinds.rs"]
mod kinds;
#[path = "delivery/real.rs"]
mod real;
#[path = "delivery/returned.rs"]
mod returned;
#[path = "delivery/stage.rs"]
mod stage;
