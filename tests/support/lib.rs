//! What the tests share: folders, programs, provisioned files, a data set that is drawn on the spot, naive oracles.

pub mod folders;
pub mod http;
pub mod naive;
pub mod postgres;
pub mod programs;
pub mod reference;
pub mod surroundings;
pub mod toy;
#[cfg(target_os = "linux")]
pub mod witness;
