//! The nouns of sketchfind that cross every door between its rooms.
//!
//! A [`Dataset`](dataset::Dataset) names photos and the sketches drawn from them. Its files become
//! [`Image`](image::Image)s, as do [`Strokes`](strokes::Strokes) that are drawn, and one [`Preprocess`](image::Preprocess) path turns those into network
//! input, in training and in serving alike. A network's outputs are [`Embeddings`](embeddings::Embeddings);
//! a [`Distance`](distance::Distance) compares two of them; sorting a gallery by its distances to one query
//! gives a [`Ranking`](ranking::Ranking). A [`Calibration`](calibration::Calibration) says
//! how sure one may be of its first places. A [`Card`](card::Card) says all that must be known to use a model.
//!
//! **Architecture invariant:** nothing here links a native library, prints, exits or panics on user data.

pub mod atomic;
pub mod calibration;
pub mod card;
pub mod dataset;
pub mod distance;
pub mod embed;
pub mod embeddings;
pub mod error;
pub mod fingerprint;
pub mod frame;
pub mod image;
pub mod photo_files;
pub mod random;
pub mod ranking;
pub mod strokes;
pub mod terminal;
pub mod unicode;
pub mod work;

pub use error::{Error, Result};
