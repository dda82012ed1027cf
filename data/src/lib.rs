//! What people download becomes a data set: the layouts of the field's benchmarks, recognised and checked.
//!
//! [`find`] reads a folder in one of the [`Layout`]s and pairs sketches with photos; [`Found::write`] makes it a data
//! set's folder with one manifest, as `sketchfind_core::dataset` has it. Nothing is paired by guesswork: a name that
//! fits two photos, or none, is an error that says so.
//!
//! Vector sketches are read from the coordinate files of QMUL's V2 sets ([`coordinates`]) without running pickle code;
//! [`vector`] reads QuickDraw's ndjson and SVG files too, and [`deform`] makes changed versions of a sketch. MATLAB
//! arrays ([`mat`]) are those of QMUL's V1 sets. [`pages`] puts pictures on the pages that people have.

pub mod coordinates;
pub mod counts;
pub mod deform;
mod found;
mod layouts;
pub mod mat;
pub mod pages;
pub mod vector;

pub use found::{Entry, Found, HUMAN_TRIPLETS, HumanTriplet, Source};
pub use layouts::{Layout, Options, find};
pub use sketchfind_core::{Error, Result};
