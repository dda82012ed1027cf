//! `sketchfind index export` and `index import`: embeddings for other programs, and from them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind::gallery::MANIFEST;
use sketchfind::home::{self, Home, is_address, shown};
use sketchfind::{
    Access, Cancel, Distance, EmbeddingFiles, EmbeddingSpace, Error, Framing, Gallery, GalleryOptions,
    IndexSpec, Progress,
};
use sketchfind_core::frame::PhotoFrame;

use crate::building::{Building, build_index, finish};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::photos::say_first;
use crate::progress::{Bar, say, warn};

/// What is said to have made a gallery.
const TOOL: &str = concat!("sketchfind ", env!("CARGO_PKG_VERSION"));

/// The arguments of `index export`.
#[derive(clap::Args)]
pub(crate) struct ExportOptions {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// The file: *.npy or *.parquet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The arguments of `index import`.
#[derive(clap::Args)]
pub(crate) struct ImportOptions {
    /// The gallery. One that is not there is made, where --distance or --model says of what kind.
    #[arg(long)]
    gallery: PathBuf,
    /// A file of embeddings, *.npy or *.parquet, or a folder with such files.
    from: PathBuf,
    /// Replace photos that are there with other embeddings, which is refused otherwise.
    #[arg(long)]
    replace: bool,
    /// Make a gallery without a model, whose embeddings are compared by this distance: mse or cosine.
    #[arg(long, value_name = "mse|cosine")]
    distance: Option<Distance>,
    /// Make a gallery with this model, which made the embeddings: its folder.
    #[arg(long, conflicts_with = "distance")]
    model: Option<PathBuf>,
    /// The index of a gallery that is made.
    #[arg(long, default_value = "auto")]
    index: IndexSpec,
    /// How a gallery that is made with a model frames the photos that are added to it later: as those were framed that the embeddings
    /// are of, see `index build`.
    #[arg(long, value_name = "card|off|SHARE", default_value = "card", conflicts_with = "distance")]
    frame: Framing,
}

pub(crate) fn export(options: &ExportOptions) -> Result<Exit> {
    let ExportOptions { gallery, out } = options;
    let gallery = home::open(gallery, Access::Read)?;
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(gallery.look().len()?, "writing embeddings");
    let exported =
        gallery.export(out, Progress::new(&|n_done| bar.set(n_done)), Cancel::new(&|| interrupt.is_set()))?;
    bar.finish();
    say_first(
        exported.without_source.iter().map(|id| format!("the path of '{id}' is not UTF-8, and was left out")),
    );
    say(&format!("{} embeddings written to '{}'", exported.n_photos, out.display()));
    Ok(Exit::Success)
}

pub(crate) fn import(options: &ImportOptions) -> Result<Exit> {
    let ImportOptions { gallery: path, from, .. } = options;
    let interrupt = Interrupt::listen()?;
    let files = open(from, &interrupt)?;
    if !files.unread_columns().is_empty() {
        warn(&format!("columns that are not read: {}", files.unread_columns().join(", ")));
    }
    if is_address(path) {
        bring_into_database(path, &files, options, &interrupt)?;
    } else if path.join(MANIFEST).is_file() {
        let gallery = home::open(path, Access::Write)?;
        refuse_another_kind(gallery.as_ref(), options)?;
        bring_in(gallery.as_ref(), &files, options, &interrupt)?;
    } else {
        make(path, &files, options, &interrupt)?;
    }
    Ok(say_failed(&files))
}

/// Brings embeddings into a gallery in a database, which is made where it is not there, and of which what is in already stays
/// where this is interrupted; then its graph is built, if it is to have one.
fn bring_into_database(
    address: &Path,
    files: &EmbeddingFiles,
    options: &ImportOptions,
    interrupt: &Interrupt,
) -> Result<()> {
    let gallery = match home::open(address, Access::Write) {
        Ok(gallery) => {
            refuse_another_kind(gallery.as_ref(), options)?;
            gallery
        }
        // The database is there, and has no such gallery.
        Err(Error::NoGallery { .. }) => {
            let made = GalleryOptions::with_index(options.index, TOOL);
            match origin(address, files, options)? {
                Origin::Model(model) => {
                    let card = sketchfind::Card::load_with_model(model)?;
                    let made = made.with_photo_frame(options.frame.of_photos(card.frame)?);
                    home::create_empty(address, model, &made)?;
                }
                Origin::Given(space) => home::create_without_model(address, &space, &made)?,
            }
            home::open(address, Access::Write)?
        }
        Err(error) => return Err(error.into()),
    };
    bring_in(gallery.as_ref(), files, options, interrupt)?;
    build_index(gallery.as_ref())
}

/// What a gallery is made of.
enum Origin<'o> {
    Model(&'o Path),
    Given(EmbeddingSpace),
}

/// What a gallery that is made for embeddings is to be made of.
fn origin<'o>(place: &Path, files: &EmbeddingFiles, options: &'o ImportOptions) -> Result<Origin<'o>> {
    let missing = |reason: &str| Error::Gallery { path: shown(place).into(), reason: reason.to_owned() };
    match (&options.model, options.distance) {
        (Some(model), _) => Ok(Origin::Model(model)),
        (None, Some(distance)) => {
            let width = files.width().ok_or_else(|| missing("there is no embedding to make it of"))?;
            let space = EmbeddingSpace::new(width, distance);
            Ok(Origin::Given(match files.model_sha256() {
                Some(sha256) => space.with_model(sha256),
                None => space,
            }))
        }
        (None, None) => {
            let reason = "it is not there; --distance makes one without a model, --model one with that model";
            Err(missing(reason).into())
        }
    }
}

/// Refuses a gallery that is there and of another kind than was asked for.
fn refuse_another_kind(gallery: &dyn Home, options: &ImportOptions) -> Result<()> {
    let refused = |reason: String| Err(Error::Gallery { path: gallery.place().to_owned(), reason }.into());
    if let Some(asked) = options.distance {
        let own = gallery.space().distance;
        if own != asked {
            return refused(format!("it compares by {own}, and {asked} was asked for"));
        }
    }
    if options.model.is_some() {
        return refused("it is there already; --model is for one that is made".to_owned());
    }
    Ok(())
}

/// Makes a gallery of embeddings beside its place, where an interrupted import is found again, and puts it there.
fn make(path: &Path, files: &EmbeddingFiles, options: &ImportOptions, interrupt: &Interrupt) -> Result<()> {
    let building = Building::beside(path, ".importing")?;
    // Its graph, if it is to have one, is built once and at the end.
    let made = GalleryOptions::exact(TOOL);
    match origin(path, files, options)? {
        Origin::Model(model) => {
            let card = sketchfind::Card::load_with_model(model)?;
            let made = made.with_photo_frame(options.frame.of_photos(card.frame)?);
            let wanted =
                EmbeddingSpace::new(card.embedding_width, card.distance).with_model(card.fingerprint());
            if !goes_on(building.path(), &wanted, made.photo_frame, true) {
                Gallery::create_empty(building.path(), model, &made)?;
            }
        }
        Origin::Given(wanted) => {
            if !goes_on(building.path(), &wanted, None, false) {
                Gallery::create_without_model(building.path(), &wanted, &made)?;
            }
        }
    }
    building.make(|place| {
        let gallery = Gallery::open_with(place, Access::Write)?;
        bring_in(&gallery, files, options, interrupt)?;
        finish(&gallery, options.index)
    })?;
    building.install()
}

/// The embeddings in a file, or in the files of a folder.
pub(crate) fn open(path: &Path, interrupt: &Interrupt) -> Result<EmbeddingFiles> {
    Ok(EmbeddingFiles::open(path, Cancel::new(&|| interrupt.is_set()))?)
}

/// Whether there is an unfinished import into a gallery of this kind.
fn goes_on(
    building: &Path,
    wanted: &EmbeddingSpace,
    photo_frame: Option<PhotoFrame>,
    has_model: bool,
) -> bool {
    let is_same = Gallery::open(building).is_ok_and(|unfinished| {
        unfinished.space() == *wanted
            && unfinished.photo_frame() == photo_frame
            && unfinished.card().is_some() == has_model
    });
    if is_same {
        say(&format!("going on with the unfinished import in '{}'", building.display()));
    }
    is_same
}

fn bring_in(
    gallery: &dyn Home,
    files: &EmbeddingFiles,
    options: &ImportOptions,
    interrupt: &Interrupt,
) -> Result<()> {
    let bar = Bar::new(files.len(), "importing embeddings");
    let how = sketchfind::ImportOptions::default();
    let done = gallery.import(
        files,
        if options.replace { how.replacing() } else { how },
        Progress::new(&|n_done| bar.set(n_done)),
        Cancel::new(&|| interrupt.is_set()),
    );
    let done = match done {
        Err(error @ Error::PhotoExists { .. }) => {
            let hint = "--replace replaces those that are there with other embeddings; nothing was changed";
            return Err(anyhow::Error::new(error).context(hint));
        }
        other => other?,
    };
    bar.finish();
    say(&format!(
        "{} photos added, {} replaced, {} there already; the gallery has {}",
        done.n_added,
        done.n_replaced,
        done.n_unchanged,
        gallery.look().len()?
    ));
    Ok(())
}

/// Names the rows that have an error in the place of an embedding; the exit code that they call for.
pub(crate) fn say_failed(files: &EmbeddingFiles) -> Exit {
    let failed = files.failed();
    if failed.is_empty() {
        return Exit::Success;
    }
    say_first(failed.iter().map(|row| format!("left out: '{}': {}", row.id, row.error)));
    warn(&format!("{} rows have an error in the place of an embedding, and were left out", failed.len()));
    Exit::SomeLeftOut
}
