//! Whether a configuration can be used, as far as this machine can tell. `check` shows it, a reload goes by it.

pub mod local;
mod report;

pub use report::{Group, Item, Report};
