//! Homes of galleries: a folder, or a database. One trait for both, so that whoever asks a gallery need not know where it lies.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sketchfind_core::card::Card;
use sketchfind_core::distance::Distance;
use sketchfind_core::frame::PhotoFrame;
use sketchfind_index::Query;

use crate::{
    Access, BuiltGraphs, Cancel, Costs, EmbeddingSpace, Error, Filter, Gallery, GalleryOptions, IndexSpec,
    Match, Nothing, Photo, Progress, Recall, Result, SearchOptions,
};

/// A photo of a gallery with its embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The photo.
    pub photo: Photo,
    /// Its embedding, `[D]`.
    pub embedding: Vec<f32>,
}

/// Where a gallery lies, and all that is asked of it wherever that is. A [`Gallery`] is a home in a folder; with the feature
/// `postgres` a `PostgresGallery` is one in a database.
pub trait Home: Send + Sync + fmt::Debug {
    /// Its folder, or its address without a password: what errors name it by.
    fn place(&self) -> &Path;

    /// What may be done with it.
    fn access(&self) -> Access;

    /// Refuses what only the process that opened it may do.
    ///
    /// # Errors
    /// [`Error::Forked`].
    fn check_process(&self) -> Result<()>;

    /// The card of its model, where it has one.
    fn card(&self) -> Option<&Card>;

    /// A folder with its model's files, where it has one, which is there as long as the home is.
    fn model_dir(&self) -> Option<PathBuf>;

    /// The space of its embeddings.
    fn space(&self) -> EmbeddingSpace;

    /// How photos are framed before they are embedded.
    fn photo_frame(&self) -> Option<PhotoFrame>;

    /// Its photos as they are now.
    fn look(&self) -> Arc<dyn Look>;

    /// Sees what others have written since; whether there was anything that had to be read anew.
    ///
    /// # Errors
    /// [`Error::OtherModel`]; those of opening it.
    fn refresh(&self) -> Result<bool>;

    /// Adds `photos`, all of them or none. When this returns they are found, and survive a crash.
    ///
    /// # Shapes
    /// `embeddings`: `[photos, D]`, row-major.
    ///
    /// # Errors
    /// [`Error::PhotoExists`] where an id is there already or stands twice in the list; [`Error::ReadOnly`]; [`Error::Core`]
    /// where a photo or an embedding is not what it should be.
    fn add(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()>;

    /// Adds `photos` in the place of those that have their ids, where there are such; all of them or none. What a photo was not
    /// given stays as it is.
    ///
    /// # Shapes
    /// `embeddings`: `[photos, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Home::add`]; [`Error::PhotoExists`] only where an id stands twice in the list.
    fn replace(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()>;

    /// Removes the photos of `ids`, all in one step, and returns how many of them were there.
    ///
    /// # Errors
    /// Those of [`Home::add`].
    fn remove(&self, ids: &[&str]) -> Result<usize>;

    /// The index that it asks for.
    fn index(&self) -> IndexSpec;

    /// Chooses how it is searched, from the next [`Home::build_index`] on.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; [`Error::Core`] where a parameter is out of range.
    fn set_index(&self, index: IndexSpec) -> Result<()>;

    /// The number of photos that are to be in a graph and are in none: they are looked at one by one.
    fn n_lacking_graph(&self) -> usize;

    /// Builds what its index asks for and has not.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; those of its kind of home.
    fn build_index(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<BuiltGraphs>;

    /// Gives back the space of removed photos.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; those of its kind of home.
    fn compact_files(&self) -> Result<()>;

    /// How much its graph finds, on a sample of its photos; nothing where there is no graph. Where it is open for writing that is
    /// written down.
    ///
    /// # Errors
    /// Those of [`Look::search`]; [`Error::Cancelled`].
    fn measure_recall(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<Option<Recall>>;

    /// How much its graph finds, where that was written down.
    fn recall(&self) -> Option<Recall>;

    /// Writes down what embedding and exact search cost.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; [`Error::OnlyFolder`] where exact search is another machine's work.
    fn set_costs(&self, costs: Costs) -> Result<()>;

    /// The gallery, where this is a folder: for what only a folder can do.
    fn folder(&self) -> Option<&Gallery>;
}

impl dyn Home + '_ {
    /// Gives back the space of removed photos and brings the index up to date.
    ///
    /// # Errors
    /// Those of [`Home::compact_files`] and [`Home::build_index`].
    pub fn compact(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<()> {
        self.compact_files()?;
        self.build_index(progress, cancel).map(drop)
    }

    /// The gallery in a folder, for what only such a one can do.
    ///
    /// # Errors
    /// [`Error::OnlyFolder`] naming `what`.
    pub fn only_folder(&self, what: &'static str) -> Result<&Gallery> {
        self.folder().ok_or_else(|| Error::OnlyFolder { place: self.place().to_owned(), what })
    }
}

/// The photos of a gallery. Those of a folder are as they were when the look was taken, whatever is written meanwhile; a
/// database answers each question with what is there when it is asked.
pub trait Look: Send + Sync {
    /// The number of photos.
    ///
    /// # Errors
    /// Where a database does not answer, as everywhere here.
    fn len(&self) -> Result<usize>;

    /// Whether there is no photo.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The width of an embedding, D.
    fn width(&self) -> usize;

    /// The distance that is searched by.
    fn distance(&self) -> Distance;

    /// What is there under each of `ids`.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn rows(&self, ids: &[&str]) -> Result<Vec<Option<Row>>>;

    /// [`Look::rows`] without embeddings.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn photos(&self, ids: &[&str]) -> Result<Vec<Option<Photo>>>;

    /// The embeddings of photos whose files have these SHA-256, by them.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn of_contents(&self, contents: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<f32>>>;

    /// The ids that are the same as one of `names` but for the form of Unicode that they are written in.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn ids_in_any_form(&self, names: &[&str]) -> Result<Vec<String>>;

    /// Shows every photo, sorted by id, until `visit` fails.
    ///
    /// # Errors
    /// Those of [`Look::len`] and of `visit`.
    fn each_photo(&self, visit: &mut dyn FnMut(&Photo) -> Result<()>) -> Result<()>;

    /// Shows every photo with its embedding, sorted by id, until `visit` fails.
    ///
    /// # Errors
    /// Those of [`Look::len`] and of `visit`.
    fn each_row(&self, visit: &mut dyn FnMut(&Photo, &[f32]) -> Result<()>) -> Result<()>;

    /// The `most` labels that most photos have, with how many have them.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn labels(&self, most: usize) -> Result<Vec<(String, usize)>>;

    /// For each of `queries` the `k` nearest photos among those that pass `filter`, or products; best first, equal distances in
    /// order of ids. Exact where the filter leaves out anything, and where there is no graph.
    ///
    /// # Errors
    /// Those of [`SearchOptions::check`] and [`Look::len`].
    fn search(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>>;

    /// Why a search with `filter` finds nothing; nothing where it finds something.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    fn why_nothing(&self, filter: &Filter) -> Result<Option<Nothing>>;
}

impl dyn Look + '_ {
    /// [`Look::search`] for queries of numbers.
    ///
    /// # Shapes
    /// `queries`: `[Q, D]`, row-major.
    ///
    /// # Errors
    /// Those of [`Look::search`]; [`Error::Core`] where the values are not whole queries of finite numbers.
    pub fn search_values(
        &self,
        queries: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        self.search(&Query::each(queries, self.width())?, k, filter, options)
    }

    /// The photo of this id.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    pub fn photo(&self, id: &str) -> Result<Option<Photo>> {
        Ok(self.photos(&[id])?.pop().flatten())
    }

    /// The embedding of a photo, `[D]`.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    pub fn embedding(&self, id: &str) -> Result<Option<Vec<f32>>> {
        Ok(self.rows(&[id])?.pop().flatten().map(|row| row.embedding))
    }

    /// All ids, sorted.
    ///
    /// # Errors
    /// Those of [`Look::len`].
    pub fn ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        self.each_photo(&mut |photo| {
            ids.push(photo.id().to_owned());
            Ok(())
        })?;
        Ok(ids)
    }
}

/// How addresses of databases begin.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Whether `place` is the address of a database, and not a folder.
pub fn is_address(place: &Path) -> bool {
    place.to_str().is_some_and(|text| SCHEMES.iter().any(|scheme| text.starts_with(scheme)))
}

/// `place` as it may be shown: an address without its password.
pub fn shown(place: &Path) -> String {
    let text = place.display().to_string();
    let Some((scheme, rest)) = text.split_once("://").filter(|_| is_address(place)) else {
        return text;
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // What a password holds that it must not: the last @ ends it.
    let authority = match authority.rsplit_once('@') {
        Some((user, hosts)) => format!("{}@{hosts}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    // A password may stand among the parameters too.
    let tail: Vec<&str> = match tail.split_once('?') {
        None => vec![tail],
        Some((path, parameters)) => std::iter::once(path)
            .chain(parameters.split('&').filter(|parameter| !parameter.starts_with("password=")))
            .collect(),
    };
    let (path, parameters) = tail.split_first().map_or(("", &[][..]), |(path, rest)| (*path, rest));
    let question = if parameters.is_empty() { "" } else { "?" };
    format!("{scheme}://{authority}{path}{question}{}", parameters.join("&"))
}

/// Opens the gallery at `place`: a folder, or with the feature `postgres` the address of a database,
/// `postgres://USER@HOST/DATABASE?gallery=NAME`.
///
/// # Errors
/// Those of [`Gallery::open_with`]; [`Error::NoPostgres`] where this is an address and the feature is not there.
pub fn open(place: impl AsRef<Path>, access: Access) -> Result<Arc<dyn Home>> {
    let place = place.as_ref();
    if !is_address(place) {
        return Ok(Arc::new(Gallery::open_with(place, access)?));
    }
    #[cfg(feature = "postgres")]
    return Ok(Arc::new(crate::PostgresGallery::open(place, access)?));
    #[cfg(not(feature = "postgres"))]
    Err(Error::NoPostgres { place: shown(place).into() })
}

/// Makes a gallery without photos at `place`, as [`open`] takes it, with the model in `model_dir`. A folder's gallery that is
/// there is replaced; one in a database is not.
///
/// # Errors
/// Those of [`Gallery::create_empty`]; [`Error::Gallery`] where a database has one of that name.
pub fn create_empty(place: impl AsRef<Path>, model_dir: &Path, options: &GalleryOptions) -> Result<()> {
    let place = place.as_ref();
    if !is_address(place) {
        return Gallery::create_empty(place, model_dir, options);
    }
    #[cfg(feature = "postgres")]
    return crate::PostgresGallery::create_empty(place, model_dir, options);
    #[cfg(not(feature = "postgres"))]
    Err(Error::NoPostgres { place: shown(place).into() })
}

/// [`create_empty`] of a gallery without a model, whose photos and queries are embeddings of `space` that are given.
///
/// # Errors
/// Those of [`Gallery::create_without_model`] and [`create_empty`].
pub fn create_without_model(
    place: impl AsRef<Path>,
    space: &EmbeddingSpace,
    options: &GalleryOptions,
) -> Result<()> {
    let place = place.as_ref();
    if !is_address(place) {
        return Gallery::create_without_model(place, space, options);
    }
    #[cfg(feature = "postgres")]
    return crate::PostgresGallery::create_without_model(place, space, options);
    #[cfg(not(feature = "postgres"))]
    Err(Error::NoPostgres { place: shown(place).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = |text: &str| shown(Path::new(text));
        assert_eq!(shown("postgres://a:b@h:1,i:2/d?gallery=g"), "postgres://a@h:1,i:2/d?gallery=g");
        assert_eq!(shown("postgresql://a:b@c@h/d"), "postgresql://a@h/d");
        assert_eq!(shown("postgres://h/d?password=x&gallery=g&user=u"), "postgres://h/d?gallery=g&user=u");
        assert_eq!(shown("postgres://h/d?password=x"), "postgres://h/d");
        assert_eq!(shown("postgres:///d?gallery=g"), "postgres:///d?gallery=g");
        assert_eq!(shown("shop/a:b@c.gallery"), "shop/a:b@c.gallery");
        assert!(is_address(Path::new("postgresql://h")) && !is_address(Path::new("postgres")));
    }
}
