//! A gallery in a PostgreSQL database with the extension pgvector: a table that other programs read and join, searched where it
//! lies. It holds the model's files too, so that whoever may read it can ask it.

mod address;
mod connections;
mod rows;
mod schema;
mod search;
mod write;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use postgres::GenericClient;
use sketchfind_core::card::Card;
use sketchfind_core::distance::Distance;
use sketchfind_core::frame::PhotoFrame;
use sketchfind_core::{Error as CoreError, fingerprint};
use tempfile::TempDir;

use self::address::Address;
use self::connections::{Connections, Failure};
use self::schema::{Described, FORMAT, Kept, WIDEST_HALFVEC};
use crate::gallery::{MODEL_DIR, model_files};
use crate::home::{Home, Look};
use crate::process::Owned;
use crate::{
    Access, BuiltGraphs, Cancel, Costs, EmbeddingSpace, Error, Gallery, GalleryOptions, IndexSpec, Photo,
    Progress, Recall, Result,
};

/// The table of a gallery, for everybody who asks it.
struct Table {
    connections: Connections,
    width: usize,
    distance: Distance,
    kept: Kept,
    described: RwLock<Arc<Described>>,
}

impl Table {
    fn name(&self) -> &str {
        &self.connections.address().gallery
    }

    /// Its name, as SQL writes it.
    fn sql_name(&self) -> String {
        self.connections.address().table()
    }

    fn described(&self) -> Arc<Described> {
        Arc::clone(&self.described.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A gallery in a database, at an address such as `postgres://shop@db/shop?gallery=shoes`. Any number of programs read and
/// change one at a time; a change is one transaction, and changes of a gallery follow each other.
///
/// The password comes from the address, from PGPASSWORD or from PostgreSQL's file of passwords, and no error and no log names it.
pub struct PostgresGallery {
    table: Arc<Table>,
    access: Access,
    model: Option<Model>,
}

/// A gallery's model, in a folder of this process.
struct Model {
    card: Card,
    /// A child that was made by fork leaves its parent's folder alone.
    folder: Owned<TempDir>,
}

impl std::fmt::Debug for PostgresGallery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresGallery")
            .field("place", &self.place())
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What the database gave, or why it is of no use.
fn told<T>(read: std::result::Result<T, postgres::Error>) -> std::result::Result<T, Failure> {
    read.map_err(Failure::Database)
}

impl PostgresGallery {
    /// Opens a gallery. Of the model, where there is one, the files are brought into a folder of this process.
    ///
    /// # Errors
    /// [`Error::Gallery`] where the address is none, the database has no such gallery, or it is of a newer version or damaged;
    /// [`Error::Database`] where the database cannot be reached or refuses.
    pub fn open(place: &Path, access: Access) -> Result<PostgresGallery> {
        let connections = Connections::new(Address::parse(place)?)?;
        let described = connections.read(|client| Ok(read_described(client, connections.address())?))?;
        let described = described?;
        let EmbeddingSpace { width, distance, model_sha256 } = described.space.clone();
        let model = Model::of(&connections, model_sha256.as_deref(), (width, distance))?;
        let (kept, described) = (Kept::of(width), RwLock::new(Arc::new(described)));
        let table = Arc::new(Table { connections, width, distance, kept, described });
        Ok(PostgresGallery { table, access, model })
    }

    /// Makes a gallery without photos, with the model in `model_dir`.
    ///
    /// # Errors
    /// [`Error::Gallery`] where there is one of that name, or pgvector is missing; those of [`PostgresGallery::open`].
    pub fn create_empty(place: &Path, model_dir: &Path, options: &GalleryOptions) -> Result<()> {
        let card = Card::load_with_model(model_dir)?;
        let space = EmbeddingSpace::new(card.embedding_width, card.distance).with_model(card.fingerprint());
        create(place, &space, Some(model_dir), options)
    }

    /// Makes a gallery without photos and without a model.
    ///
    /// # Errors
    /// Those of [`PostgresGallery::create_empty`]; [`Error::Core`] where the space is none, or the options frame photos.
    pub fn create_without_model(
        place: &Path,
        space: &EmbeddingSpace,
        options: &GalleryOptions,
    ) -> Result<()> {
        space.check()?;
        options.refuse_frame_without_model()?;
        create(place, space, None, options)
    }

    /// Removes a gallery: its table, its model and all that the database knows of it.
    ///
    /// # Errors
    /// Those of [`PostgresGallery::open`].
    pub fn delete(place: &Path) -> Result<()> {
        let connections = Connections::new(Address::parse(place)?)?;
        let address = connections.address();
        connections.read(|client| Ok(read_described(client, address)?))??;
        connections.write(|client| {
            let mut transaction = client.transaction()?;
            transaction.execute("delete from sketchfind_galleries where name = $1", &[&address.gallery])?;
            transaction.batch_execute(&format!("drop table {}", address.table()))?;
            Ok(transaction.commit()?)
        })
    }

    fn writable(&self) -> Result<()> {
        self.table.connections.check_process()?;
        if self.access == Access::Read {
            return Err(Error::ReadOnly { path: self.place().to_owned() });
        }
        Ok(())
    }

    /// Reads anew what the database says of the gallery.
    fn describe(&self) -> Result<bool> {
        let connections = &self.table.connections;
        let now = connections.read(|client| Ok(read_described(client, connections.address())?))??;
        let before = self.table.described();
        if now.space != before.space {
            return Err(Error::OtherModel { path: self.place().to_owned() });
        }
        let is_new = (now.index, now.has_graph, now.photo_frame)
            != (before.index, before.has_graph, before.photo_frame);
        *self.table.described.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        Ok(is_new)
    }
}

/// Makes the tables of a gallery, all or none.
fn create(
    place: &Path,
    space: &EmbeddingSpace,
    model_dir: Option<&Path>,
    options: &GalleryOptions,
) -> Result<()> {
    let connections = Connections::new(Address::parse(place)?)?;
    let address = connections.address();
    let refused = |reason: String| Error::Gallery { path: address.shown.clone(), reason };
    options.index.check()?;
    if space.width > WIDEST_HALFVEC {
        return Err(refused(format!(
            "embeddings of {} numbers are wider than the {WIDEST_HALFVEC} that pgvector's indexes take",
            space.width
        )));
    }
    let files = model_dir.map(model_files).transpose()?.unwrap_or_default();
    let written = |value: serde_json::Result<String>| value.map_err(|error| refused(error.to_string()));
    let frame = options.photo_frame.map(|frame| written(serde_json::to_string(&frame))).transpose()?;
    let index = written(serde_json::to_string(&options.index))?;
    let width = i32::try_from(space.width).unwrap_or(i32::MAX);
    connections.write(|client| {
        let mut transaction = client.transaction()?;
        transaction.batch_execute("set local statement_timeout = 0")?;
        let encoding: String = transaction.query_one("show server_encoding", &[])?.try_get(0)?;
        if encoding != "UTF8" {
            let reason = format!("the database's encoding is {encoding}, expected UTF8");
            return Err(refused(reason).into());
        }
        // Two that make tables at once would be in each other's way.
        transaction.batch_execute("select pg_advisory_xact_lock(hashtext('sketchfind'))")?;
        extension(&mut transaction).map_err(|failure| match failure {
            Failure::Database(error) if error.as_db_error().is_some() => {
                let said = error.as_db_error().map_or("", |said| said.message());
                Failure::Ours(refused(format!(
                    "the database has no extension 'vector' and it cannot be made ({said}): install pgvector 0.8 or later \
                     on the server (the package postgresql-NN-pgvector of Debian and PostgreSQL), and have an administrator \
                     run: create extension vector"
                )))
            }
            other => other,
        })?;
        transaction.batch_execute(schema::SHARED_TABLES)?;
        let is_there = transaction
            .query_one("select to_regclass($1) is not null", &[&address.table()])?
            .try_get::<_, bool>(0)?;
        if is_there {
            let reason = "there is a table of that name already, which will not be overwritten".to_owned();
            return Err(refused(reason).into());
        }
        transaction.execute(
            "insert into sketchfind_galleries (name, format, tool, distance, width, model_sha256, photo_frame, index) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &address.gallery,
                &FORMAT,
                &options.tool,
                &space.distance.name(),
                &width,
                &space.model_sha256,
                &frame,
                &index,
            ],
        )?;
        for (name, file) in &files {
            let bytes = std::fs::read(file).map_err(CoreError::io("read", file))?;
            transaction.execute(
                "insert into sketchfind_model_files (gallery, name, sha256, bytes) values ($1, $2, $3, $4)",
                &[&address.gallery, name, &fingerprint::of_bytes(&bytes), &bytes],
            )?;
        }
        transaction.batch_execute(&schema::table(&address.gallery, space))?;
        Ok(transaction.commit()?)
    })
}

/// Makes the extension that has the types of embeddings, where it is not there.
fn extension(transaction: &mut postgres::Transaction<'_>) -> std::result::Result<(), Failure> {
    let is_there = transaction
        .query_one("select exists (select 1 from pg_extension where extname = 'vector')", &[])?
        .try_get::<_, bool>(0)?;
    if !is_there {
        let mut attempt = transaction.transaction()?;
        attempt.batch_execute("create extension vector")?;
        attempt.commit()?;
    }
    Ok(())
}

/// What the database says of a gallery; the inner error is that it is none of ours.
fn read_described(
    client: &mut impl GenericClient,
    address: &Address,
) -> std::result::Result<Result<Described>, postgres::Error> {
    let refused = |reason: String| Ok(Err(Error::Gallery { path: address.shown.clone(), reason }));
    let is_ready = client
        .query_one("select to_regclass('sketchfind_galleries') is not null", &[])?
        .try_get::<_, bool>(0)?;
    let row = if is_ready {
        client.query_opt(
            "select format, distance, width, model_sha256, photo_frame, index, recall, \
                 coalesce((select c.relkind from pg_class c where c.oid = to_regclass($2)), ' '::\"char\"), \
                 exists (select 1 from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam \
                         where i.indrelid = to_regclass($2) and a.amname = 'hnsw' and i.indisvalid) \
             from sketchfind_galleries where name = $1",
            &[&address.gallery, &address.table()],
        )?
    } else {
        None
    };
    let Some(row) = row else {
        return Ok(Err(Error::NoGallery { place: address.shown.clone() }));
    };
    let format: i32 = row.try_get(0)?;
    if format != FORMAT {
        return refused(format!(
            "it is of format {format} in databases; this version of sketchfind reads {FORMAT}. Update sketchfind"
        ));
    }
    let damaged = |what: &str, error: &dyn std::fmt::Display| {
        refused(format!("what the table 'sketchfind_galleries' says of its {what} cannot be read: {error}"))
    };
    let distance: Distance = match row.try_get::<_, &str>(1)?.parse() {
        Ok(distance) => distance,
        Err(error) => return damaged("distance", &error),
    };
    let width = usize::try_from(row.try_get::<_, i32>(2)?).unwrap_or(0);
    let model_sha256: Option<String> = row.try_get(3)?;
    let space = EmbeddingSpace { width, distance, model_sha256 };
    if let Err(error) = space.check() {
        return damaged("embeddings", &error);
    }
    let photo_frame: Option<PhotoFrame> =
        match row.try_get::<_, Option<&str>>(4)?.map(serde_json::from_str).transpose() {
            Ok(frame) => frame,
            Err(error) => return damaged("photos' frame", &error),
        };
    let index: IndexSpec = match serde_json::from_str(row.try_get(5)?) {
        Ok(index) => index,
        Err(error) => return damaged("index", &error),
    };
    if let Err(error) = index.check() {
        return damaged("index", &error);
    }
    let recall: Option<Recall> =
        match row.try_get::<_, Option<&str>>(6)?.map(serde_json::from_str).transpose() {
            Ok(recall) => recall,
            Err(error) => return damaged("recall", &error),
        };
    let kind = row.try_get::<_, i8>(7)? as u8;
    if kind == b' ' {
        return refused(format!("its table {} is not there", address.table()));
    }
    let is_spread = kind != b'r';
    // The graphs of other servers' tables are theirs to know of.
    let has_graph = row.try_get(8)? || is_spread && matches!(index, IndexSpec::Hnsw(_));
    Ok(Ok(Described { space, photo_frame, index, recall, has_graph, is_spread }))
}

impl Model {
    /// The model of a gallery, where it has one, checked as that of a folder is.
    fn of(
        connections: &Connections,
        model_sha256: Option<&str>,
        (width, distance): (usize, Distance),
    ) -> Result<Option<Model>> {
        let address = connections.address();
        let damaged = |reason: String| Error::Gallery { path: address.shown.clone(), reason };
        let files: BTreeMap<String, (String, Vec<u8>)> = connections.read(|client| {
            let rows = client.query(
                "select name, sha256, bytes from sketchfind_model_files where gallery = $1",
                &[&address.gallery],
            )?;
            let file = |row: &postgres::Row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)));
            Ok(rows.iter().map(file).collect::<std::result::Result<_, postgres::Error>>()?)
        })?;
        if files.is_empty() {
            return Ok(None);
        }
        let folder = tempfile::Builder::new()
            .prefix("sketchfind-model-")
            .tempdir()
            .map_err(CoreError::io("create", &std::env::temp_dir()))?;
        let place = folder.path().join(MODEL_DIR);
        for (name, (sha256, bytes)) in &files {
            // The names come from a table, and must not lead out of the folder.
            if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(damaged(format!(
                    "its model has the file '{name}', which is not inside its folder"
                )));
            }
            if fingerprint::of_bytes(bytes) != *sha256 {
                return Err(damaged(format!(
                    "the file '{name}' of its model is damaged: its sha256 is another"
                )));
            }
            let path = place.join(name);
            let parent = path.parent().unwrap_or(&place);
            std::fs::create_dir_all(parent).map_err(CoreError::io("create", parent))?;
            std::fs::write(&path, bytes).map_err(CoreError::io("write", &path))?;
        }
        let card = Card::load_with_model(&place)?;
        let own = card.fingerprint();
        if Some(own.as_str()) != model_sha256 || (card.embedding_width, card.distance) != (width, distance) {
            return Err(damaged(format!(
                "its model is {own} with embeddings of {} by {}; the table 'sketchfind_galleries' says {} with {width} by \
                 {distance}",
                card.embedding_width,
                card.distance,
                model_sha256.unwrap_or("none")
            )));
        }
        Ok(Some(Model { card, folder: Owned::new(folder) }))
    }
}

impl Home for PostgresGallery {
    fn place(&self) -> &Path {
        &self.table.connections.address().shown
    }

    fn access(&self) -> Access {
        self.access
    }

    fn check_process(&self) -> Result<()> {
        self.table.connections.check_process()
    }

    fn card(&self) -> Option<&Card> {
        self.model.as_ref().map(|model| &model.card)
    }

    fn model_dir(&self) -> Option<PathBuf> {
        self.model.as_ref().map(|model| model.folder.path().join(MODEL_DIR))
    }

    fn space(&self) -> EmbeddingSpace {
        self.table.described().space.clone()
    }

    fn photo_frame(&self) -> Option<PhotoFrame> {
        self.table.described().photo_frame
    }

    fn look(&self) -> Arc<dyn Look> {
        Arc::<Table>::clone(&self.table)
    }

    fn refresh(&self) -> Result<bool> {
        self.describe()
    }

    fn add(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()> {
        self.writable()?;
        self.table.add(&photos, &embeddings)
    }

    fn replace(&self, photos: Vec<Photo>, embeddings: Vec<f32>) -> Result<()> {
        self.writable()?;
        self.table.replace(photos, &embeddings)
    }

    fn remove(&self, ids: &[&str]) -> Result<usize> {
        self.writable()?;
        self.table.remove(ids)
    }

    fn index(&self) -> IndexSpec {
        self.table.described().index
    }

    fn set_index(&self, index: IndexSpec) -> Result<()> {
        self.writable()?;
        index.check()?;
        self.table.set_index(index)?;
        self.describe().map(drop)
    }

    /// None: a graph is built where that is [asked for](Home::build_index), and not by those who read.
    fn n_lacking_graph(&self) -> usize {
        0
    }

    fn build_index(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<BuiltGraphs> {
        self.writable()?;
        let n_photos = self.table.build_index(progress, cancel)?;
        self.describe()?;
        Ok(BuiltGraphs { n_photos, not_kept: None })
    }

    fn compact_files(&self) -> Result<()> {
        self.writable()?;
        self.table.vacuum()
    }

    fn measure_recall(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<Option<Recall>> {
        self.check_process()?;
        self.describe()?;
        if !self.table.described().has_graph {
            return Ok(None);
        }
        let sample = self.table.sample(crate::gallery::MOST_IN_SAMPLE)?;
        let recall = crate::recall::measured(self.look().as_ref(), &sample, progress, cancel)?;
        if self.access != Access::Read {
            self.table.set_recall(recall)?;
            self.describe()?;
        }
        Ok(Some(recall))
    }

    fn recall(&self) -> Option<Recall> {
        self.table.described().recall
    }

    fn set_costs(&self, _costs: Costs) -> Result<()> {
        (self as &dyn Home).only_folder("the measuring of costs, which are of one machine,").map(drop)
    }

    fn folder(&self) -> Option<&Gallery> {
        None
    }
}
