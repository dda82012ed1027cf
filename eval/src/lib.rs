//! How good a retriever is, and how sure one can be: pure functions over core's values, and the files they go to.
//!
//! [`evaluate()`] embeds a split's photos and sketches, or takes embeddings that are [`ready`]; [`accuracy`] ranks every query against the whole gallery by exact
//! distance and keeps one [`QueryResult`] a query, [`products`] where several photos show one product. [`summary`] turns those into figures, each with its n and an interval, by
//! the table of [`metrics`]. [`paired`] compares models on the same queries, [`seeds`] methods that were trained several
//! times.
//!
//! Beyond the first place: [`neighbours`] says how far a space keeps the neighbours of another, [`human`] whether a model
//! orders photos as people do, [`closeness`] how alike the photos are that were found, [`attribution`] whether a sketch
//! or a model is to blame, [`early`] how soon the photo is found while the sketch is drawn, [`robustness`] what deformed
//! sketches cost, [`mod@calibrate`] when nothing fits. [`report`] writes all of it as CSV and HTML, [`trec`] as the files of trec_eval and ranx.
//!
//! What counts how: a tie counts against the model, so does a distance that is not a number; a query without its
//! match is an error; nothing is dropped silently.

pub mod accuracy;
pub mod attribution;
mod bootstrap;
pub mod calibrate;
pub mod closeness;
pub mod early;
mod error;
pub mod estimate;
pub mod evaluate;
pub mod human;
pub mod map;
pub mod metrics;
pub mod neighbours;
pub mod paired;
pub mod products;
pub mod ready;
pub mod report;
pub mod result;
pub mod robustness;
pub mod seeds;
pub mod summary;
pub mod trec;

pub use accuracy::{rank_of, rank_queries};
pub use error::{Error, Result};
pub use estimate::{Bootstrap, Estimate};
pub use evaluate::{Answers, Questions, evaluate};
pub use result::QueryResult;
pub use summary::{Summary, summarise, summarise_at};
