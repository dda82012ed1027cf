//! How good a retriever is, and how sure one can be: pure functions over core's values, and the files they go to.
//!
//! [`accuracy`] ranks every query against the whole gallery by exact distance and keeps one [`QueryResult`] a
//! query. [`summary`] turns those into figures, each with its n and an interval. [`paired`] compares two models on
//! the same queries, [`seeds`] methods that were trained several times. [`report`] writes all of it as CSV and HTML.
//!
//! What counts how: a tie counts against the model, so does a distance that is not a number; a query without its
//! match is an error; nothing is dropped silently.

pub mod accuracy;
mod bootstrap;
mod error;
pub mod paired;
pub mod report;
pub mod seeds;
pub mod summary;

pub use accuracy::{QueryResult, rank_of, rank_queries};
pub use error::{Error, Result};
pub use summary::{Bootstrap, Estimate, Summary, summarise};
