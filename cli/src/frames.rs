//! Pictures of a data set, brought into a model's frame before they are embedded: for measurements, where it is asked for.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind::{Embedder, Framing, OnBroken};
use sketchfind_core::Error;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::frame::{self, Frame, PhotoFrame};
use sketchfind_core::image::{DecodeLimits, Image};

use crate::embed::{embed_files, embed_pictures};
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// How measurements frame pictures.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct MeasuredFrame {
    /// How drawings and photos are framed before they are embedded: off, not at all; card, as `query` and `index build` do; or a
    /// share of the page's longer side, such as 0.8, that they are to fill. A drawing that nothing is seen of stays as it is.
    #[arg(long = "frame", value_name = "off|card|SHARE", default_value = "off")]
    pub(crate) framing: Framing,
}

impl MeasuredFrame {
    /// What becomes of sketches and of photos.
    ///
    /// # Errors
    /// Where the card is asked for and states no frame.
    pub(crate) fn of(self, embedder: &Embedder, model: &Path) -> Result<(Way, Way)> {
        let card = match self.framing {
            Framing::Card => Some(of_card(embedder, model)?),
            Framing::Off | Framing::Share(_) => None,
        };
        let sketches = self.framing.share(card)?.map_or(Way::AsItIs, Way::Sketch);
        let photos = self.framing.of_photos(card)?.map_or(Way::AsItIs, Way::Photo);
        Ok((sketches, photos))
    }
}

/// The frame of a model, without which there is nothing to measure.
pub(crate) fn of_card(embedder: &Embedder, model: &Path) -> Result<Frame> {
    embedder.card().frame.ok_or_else(|| {
        let reason = "its card states no frame, into which pictures would be brought; export it anew";
        Error::malformed(model, reason).into()
    })
}

/// What becomes of a picture.
pub(crate) enum Way {
    /// Nothing.
    AsItIs,
    /// A drawing that is to fill this share.
    Sketch(f32),
    /// A photo whose product is to lie so.
    Photo(PhotoFrame),
}

impl Way {
    fn open(&self, path: &Path, limits: DecodeLimits) -> sketchfind_core::Result<Image> {
        match self {
            Way::AsItIs => Image::open(path, limits),
            Way::Sketch(share) => framed_sketch(frame::open_sketch(path, limits)?, *share),
            Way::Photo(of_photos) => frame::photo(&Image::open(path, limits)?, of_photos),
        }
    }
}

/// A framed drawing. One that nothing is seen of stays as it is, and counts as it ranks: an evaluation leaves nothing out.
pub(crate) fn framed_sketch(picture: Image, share: f32) -> sketchfind_core::Result<Image> {
    match frame::sketch(&picture, share) {
        Err(Error::Blank { .. }) => Ok(picture),
        framed => framed,
    }
}

/// Embeds files with progress, until interrupted; a broken one stops it.
pub(crate) fn embed_framed(
    embedder: &mut Embedder,
    files: &[(String, PathBuf)],
    way: &Way,
    what: &str,
) -> Result<Embeddings> {
    if matches!(way, Way::AsItIs) {
        return Ok(embed_files(embedder, files, OnBroken::Refuse, what)?.embeddings);
    }
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(files.len(), what);
    let ids: Vec<String> = files.iter().map(|(id, _)| id.clone()).collect();
    let limits = embedder.options().limits;
    let mut n_done = 0;
    let embeddings =
        embed_pictures(embedder, &ids, &mut |index| Ok(way.open(&files[index].1, limits)?), &mut |n| {
            if interrupt.is_set() {
                return Err(sketchfind::Error::Cancelled.into());
            }
            n_done += n;
            bar.set(n_done);
            Ok(())
        })?;
    bar.finish();
    Ok(embeddings)
}
