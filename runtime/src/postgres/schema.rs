//! The tables of galleries in a database. A gallery's photos are a table that people read and join; what the gallery is, and the
//! files of its model, stand in two tables beside it.

use sketchfind_core::distance::Distance;
use sketchfind_core::frame::PhotoFrame;

use crate::{EmbeddingSpace, HnswParameters, IndexSpec, Recall};

/// The version of the tables that this code makes, and the newest that it reads.
pub(super) const FORMAT: i32 = 1;
/// The widest embeddings that an index of pgvector takes as `vector`; wider ones are kept in half precision.
pub(super) const WIDEST_VECTOR: usize = 2000;
/// The widest that it takes as `halfvec`.
pub(super) const WIDEST_HALFVEC: usize = 4000;

/// Makes the tables that all galleries of a schema share, where they are not there.
pub(super) const SHARED_TABLES: &str = "
create table if not exists sketchfind_galleries (
    name text primary key,
    format integer not null,
    tool text not null,
    distance text not null,
    width integer not null,
    model_sha256 text,
    photo_frame text,
    index text not null,
    recall text,
    n_photos bigint not null default 0,
    created timestamptz not null default now()
);
create table if not exists sketchfind_model_files (
    gallery text not null references sketchfind_galleries (name) on delete cascade,
    name text not null,
    sha256 text not null,
    bytes bytea not null,
    primary key (gallery, name)
);
comment on table sketchfind_galleries is 'one row a gallery of sketchfind: which model and distance its table belongs to';
comment on table sketchfind_model_files is 'the files of the models of galleries';
";

/// How embeddings are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// float32.
    Vector,
    /// Half precision, where they are too wide for an index otherwise.
    Halfvec,
}

impl Kept {
    /// How embeddings of this width are kept.
    pub(super) fn of(width: usize) -> Kept {
        if width <= WIDEST_VECTOR { Kept::Vector } else { Kept::Halfvec }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kept::Vector => "vector",
            Kept::Halfvec => "halfvec",
        }
    }

    /// The class of operators of an index for a distance.
    fn operators(self, distance: Distance) -> String {
        let of_distance = match distance {
            Distance::Mse => "l2",
            Distance::Cosine => "cosine",
        };
        format!("{}_{of_distance}_ops", self.name())
    }
}

/// The operator of pgvector that orders as a distance does.
pub(super) fn operator(distance: Distance) -> &'static str {
    match distance {
        Distance::Mse => "<->",
        Distance::Cosine => "<=>",
    }
}

/// Makes the table of a gallery and what its questions need besides a graph. Ids are in the order of their bytes, as everywhere.
pub(super) fn table(name: &str, space: &EmbeddingSpace) -> String {
    let (kept, width) = (Kept::of(space.width).name(), space.width);
    format!(
        "create table \"{name}\" (
            id text collate \"C\" primary key,
            embedding {kept}({width}) not null,
            labels text[] not null default '{{}}',
            product text,
            source text,
            sha256 text,
            added timestamptz not null default now()
        );
        create index \"{name}_form\" on \"{name}\" (normalize(id, NFC));
        create index \"{name}_labels\" on \"{name}\" using gin (labels);
        create index \"{name}_product\" on \"{name}\" (product);
        create index \"{name}_sha256\" on \"{name}\" (sha256);"
    )
}

/// The name of a gallery's graph.
pub(super) fn graph(name: &str) -> String {
    format!("{name}_hnsw")
}

/// Makes the graph of a gallery.
pub(super) fn create_graph(name: &str, space: &EmbeddingSpace, parameters: HnswParameters) -> String {
    let operators = Kept::of(space.width).operators(space.distance);
    // What pgvector allows.
    let m = parameters.m.clamp(2, 100);
    let ef_construction = parameters.ef_construction.clamp(2 * m, 1000);
    format!(
        "create index if not exists \"{}\" on \"{name}\" using hnsw (embedding {operators}) \
         with (m = {m}, ef_construction = {ef_construction})",
        graph(name)
    )
}

/// A row of the table of galleries.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) space: EmbeddingSpace,
    pub(super) photo_frame: Option<PhotoFrame>,
    pub(super) index: IndexSpec,
    /// How much the graph finds, where that was measured.
    pub(super) recall: Option<Recall>,
    /// Whether there is a graph that an index scan of this table can use.
    pub(super) has_graph: bool,
    /// Whether the table's photos lie in tables of other servers, which have graphs of their own.
    pub(super) is_spread: bool,
}
