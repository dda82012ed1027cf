//! A gallery over HTTP: a page to draw on, a JSON API, metrics. `sketchfind serve` is this library and a few options.
//!
//! [`serve`] listens, opens the gallery, answers until it is asked to stop, and lets what is under way finish.
//!
//! ```no_run
//! use std::path::PathBuf;
//! use sketchfind::EmbedderOptions;
//! use sketchfind_serve::{Options, serve};
//!
//! let options = Options::new(PathBuf::from("shop.gallery"), EmbedderOptions::cpu());
//! serve(options, |address| println!("draw at http://{address}/"))?;
//! # Ok::<(), sketchfind_serve::Error>(())
//! ```
//!
//! The way of a request: a connection ([`server`](serve)) -> the door (host, deadline, how many at once, headers of
//! safety, a line of log, a measurement) -> a route -> the retrieval on a thread of its own. Every place where work
//! could pile up has a stated size, and what does not fit is refused with 503 and `Retry-After`. Beside the requests the
//! gallery is followed: others change it, and the server sees it.
//!
//! **Architecture invariants:** nothing here prints, exits, or reads a path that a client names. A photo's file comes
//! from the gallery's own list, and a file that is written is called by a fingerprint. Log lines hold routes, never queries, ids, headers or tokens.

mod door;
mod error;
mod follow;
mod gate;
mod limits;
mod metrics;
mod page;
mod photo_files;
mod problem;
mod retrieval;
mod routes;
mod server;
mod signals;
mod state;
mod taught;
mod token;

pub use error::{Error, Result};
pub use limits::Limits;
pub use routes::openapi;
pub use server::{Options, serve};
pub use token::Token;
