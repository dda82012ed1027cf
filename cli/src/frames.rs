//! Pictures of a data set, brought into a model's frame before they are embedded: for measurements, where it is asked for.

use std::path::Path;

use anyhow::Result;
use sketchfind::{Embedder, Framing};
use sketchfind_core::Error;
use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::frame::{self, Frame, PhotoFrame};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::work::{Cancel, Progress};

use crate::embedding::embed_pictures;

/// How measurements frame pictures.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct MeasuredFrame {
    /// How drawings and photos are framed before they are embedded: off, not at all; card, as `query` and `index build` do; or a
    /// share of the page's longer side, such as 0.8, that they are to fill. A drawing that nothing is seen of stays as it is.
    #[arg(long = "frame", value_name = "off|card|SHARE", default_value = "off")]
    pub(crate) framing: Framing,
}

impl MeasuredFrame {
    /// A model that frames pictures so before it embeds them.
    ///
    /// # Errors
    /// Where the card is asked for and states no frame.
    pub(crate) fn on<'a>(self, embedder: &'a mut Embedder, model: &Path) -> Result<Framed<'a>> {
        let card = match self.framing {
            Framing::Card => Some(of_card(embedder, model)?),
            Framing::Off | Framing::Share(_) => None,
        };
        Ok(Framed::new(embedder, self.framing.share(card)?, self.framing.of_photos(card)?))
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
enum Way {
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

/// A model behind its framing; a broken file is an error.
pub(crate) struct Framed<'a> {
    embedder: &'a mut Embedder,
    of_sketches: Way,
    of_photos: Way,
}

impl<'a> Framed<'a> {
    /// A model whose drawings are to fill this share and whose photos are framed so; nothing where they stay as they are.
    pub(crate) fn new(
        embedder: &'a mut Embedder,
        sketch_share: Option<f32>,
        photo_frame: Option<PhotoFrame>,
    ) -> Framed<'a> {
        let of_sketches = sketch_share.map_or(Way::AsItIs, Way::Sketch);
        let of_photos = photo_frame.map_or(Way::AsItIs, Way::Photo);
        Framed { embedder, of_sketches, of_photos }
    }
}

impl Embed for Framed<'_> {
    type Picture = Path;
    type Error = anyhow::Error;

    fn distance(&self) -> Distance {
        self.embedder.distance()
    }

    fn embeddings(
        &mut self,
        modality: Modality,
        pictures: &[(&str, &Path)],
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embeddings> {
        let way = match modality {
            Modality::Photo => &self.of_photos,
            Modality::Sketch => &self.of_sketches,
        };
        if matches!(way, Way::AsItIs) {
            return Ok(self.embedder.embeddings(modality, pictures, progress, cancel)?);
        }
        let ids: Vec<String> = pictures.iter().map(|&(id, _)| id.to_owned()).collect();
        let limits = self.embedder.options().limits;
        let mut make = |index: usize| Ok(way.open(pictures[index].1, limits)?);
        embed_pictures(self.embedder.of(modality), &ids, &mut make, progress, cancel)
    }
}
