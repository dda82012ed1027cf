//! The library that products embed: a model folder and a folder of photos in, photos that match a sketch out.
//!
//! An [`Embedder`] runs a model's `model.onnx` through ONNX Runtime ([`native`] finds the library) and turns
//! images into embeddings; everything it needs to know stands in the model's card. [`verify`] proves on any
//! machine that it does so as the trainer did. A [`Gallery`] keeps embeddings with their model on disk, where it
//! grows and shrinks and loses nothing, and [`sketchfind_index`] searches it. A [`Retriever`] joins all of them: a
//! sketch in, [`Match`]es out, for any number of threads.
//!
//! ```
//! use std::{collections::BTreeMap, path::Path};
//! use sketchfind::{
//!     Cancel, DecodeLimits, Embedder, EmbedderOptions, Gallery, GalleryOptions, Image, OnBroken, Progress, Retriever,
//! };
//!
//! let model = Path::new("tests/fixtures/mean8"); // a tiny model: the mean of each colour channel
//! let mut embedder = Embedder::open(model, EmbedderOptions::cpu())?;
//! let photos: Vec<_> = ["blue", "red"]
//!     .map(|id| (id.to_owned(), Path::new("tests/fixtures/photos").join(format!("{id}.png"))))
//!     .to_vec();
//! let embedded = embedder.embed_files(&photos, OnBroken::Refuse, Progress::default(), Cancel::default())?;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("gallery");
//! let sources: BTreeMap<_, _> = photos.into_iter().collect();
//! Gallery::create(&path, model, &embedded.embeddings, Some(&sources), &GalleryOptions::exact("docs 1.0"))?;
//!
//! let retriever = Retriever::open(&path, EmbedderOptions::cpu())?;
//! let sketch = Image::open(Path::new("tests/fixtures/photos/red.png"), DecodeLimits::default())?;
//! let matches = retriever.query(&sketch, 1)?;
//! assert_eq!(matches[0].id, "red");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Architecture invariants:** nothing here links libtorch or prints, exits or panics on user data. A
//! distance that leaves this crate is [`Distance::between`](sketchfind_core::distance::Distance::between),
//! whichever index found it.

/// The tutorial's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/tutorials/rust.md")]
struct Tutorial;

#[cfg(feature = "inference")]
mod background;
#[cfg(feature = "inference")]
mod device;
#[cfg(feature = "inference")]
mod embedder;
mod error;
mod exchange;
mod filter;
mod framing;
pub mod gallery;
pub mod home;
#[cfg(feature = "inference")]
mod ingest;
#[cfg(feature = "inference")]
mod keeper;
#[cfg(feature = "inference")]
pub mod native;
mod photo;
#[cfg(feature = "inference")]
mod picture;
#[cfg(feature = "inference")]
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
mod recall;
#[cfg(feature = "inference")]
mod retriever;
mod search_options;
#[cfg(feature = "inference")]
mod verify;

#[cfg(feature = "inference")]
pub use device::Device;
#[cfg(feature = "inference")]
pub use embedder::{BrokenImage, Embedded, EmbeddedPhotos, Embedder, EmbedderOptions, OnBroken};
pub use error::{Error, Result};
pub use exchange::{EmbeddingFiles, Exported, FailedRow, ImportOptions, Imported};
pub use filter::Filter;
pub use framing::Framing;
pub use gallery::{
    Access, BuiltGraphs, Copied, EmbeddingSpace, Gallery, GalleryOptions, Match, Nothing, OnExisting,
    Snapshot,
};
pub use home::{Home, Look, Row};
#[cfg(feature = "inference")]
pub use ingest::{Changes, IngestOptions, Ingested, OnOtherSource, PhotoFile};
pub use photo::{LONGEST_TEXT, MOST_LABELS, Photo};
#[cfg(feature = "inference")]
pub use picture::Picture;
#[cfg(feature = "postgres")]
pub use postgres::PostgresGallery;
#[cfg(feature = "inference")]
pub use retriever::{Answer, Retriever, RetrieverOptions, Role};
pub use search_options::SearchOptions;
#[cfg(feature = "inference")]
pub use verify::{TOLERANCE, Verification, verify};

pub use sketchfind_core::calibration::Calibration;
pub use sketchfind_core::card::Card;
pub use sketchfind_core::dataset::Modality;
pub use sketchfind_core::distance::Distance;
pub use sketchfind_core::embeddings::Embeddings;
pub use sketchfind_core::image::{DecodeLimits, Image};
pub use sketchfind_core::ranking::{Hit, Ranking};
pub use sketchfind_core::strokes::Strokes;
pub use sketchfind_core::work::{Cancel, Progress};
pub use sketchfind_index::{
    Costs, HnswParameters, IndexKind, IndexSpec, LARGEST_EXACT, MOST_CANDIDATES, Recall, choose,
};
