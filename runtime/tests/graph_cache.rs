//! The cache of graphs: used where it fits, built anew where it does not, and never in the way.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sketchfind::{
    Cancel, Costs, Error, Filter, Gallery, GalleryOptions, HnswParameters, IndexKind, IndexSpec, Match,
    Photo, Progress, Retriever, RetrieverOptions,
};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::fingerprint;
use sketchfind_core::random::Stream;
use sketchfind_tests::folders;

use crate::store::{embedding, id, write};
use crate::{fixture, wait_until};

const N: usize = 1_500;
/// So few candidates that another graph gives other hits.
const FEW: HnswParameters = HnswParameters { m: 3, ef_construction: 4, ef_search: 2 };

fn create(path: &Path, seed: usize, parameters: HnswParameters) {
    let values = (0..N).flat_map(|number| embedding(seed + number)).collect();
    let embeddings = Embeddings::new((0..N).map(id).collect(), 3, values).unwrap();
    let options = GalleryOptions::with_index(IndexSpec::Hnsw(parameters), "test");
    Gallery::create(path, fixture("mean8"), &embeddings, None, &options).unwrap();
}

fn cache_of(gallery: &Path) -> PathBuf {
    gallery.join("graphs/00000001.graph")
}

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

fn hits(gallery: &Gallery) -> Vec<Vec<Match>> {
    let queries: Vec<f32> = (0..100).flat_map(|number| embedding(1_000_000 + number)).collect();
    gallery.snapshot().search_batch(&queries, 2, &Filter::everything()).unwrap()
}

/// The gallery with the graph that it asks for.
fn open(path: &Path) -> Gallery {
    with_graph(Gallery::open(path).unwrap())
}

fn with_graph(gallery: Gallery) -> Gallery {
    gallery.build_index(Progress::default(), Cancel::default()).unwrap();
    gallery
}

#[test]
fn a_graph_is_built_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, 0, FEW);
    assert!(!cache_of(&path).exists());
    // Opening builds none, and searches one by one.
    let without = Gallery::open(&path).unwrap();
    assert_eq!((without.n_lacking_graph(), without.snapshot().n_without_graph()), (N, N));
    let built = without.build_index(Progress::default(), Cancel::default()).unwrap();
    assert!((built.n_photos, built.not_kept.is_none()) == (N, true), "{built:?}");
    let built = without;
    assert_eq!(built.n_lacking_graph(), 0);
    assert_eq!(built.snapshot().n_without_graph(), 0);
    let first = inode(&cache_of(&path));
    let read = Gallery::open(&path).unwrap();
    assert_eq!(read.n_lacking_graph(), 0);
    assert_eq!(inode(&cache_of(&path)), first, "it was built again");
    assert_eq!(hits(&read), hits(&built));
    // The graph is poor enough to miss some, and its hits are those of no other search.
    let queries: Vec<f32> = (0..100).flat_map(|number| embedding(1_000_000 + number)).collect();
    let everything = Filter::everything().without_ids(["no such photo"]);
    assert_ne!(hits(&read), read.snapshot().search_batch(&queries, 2, &everything).unwrap());
    // It moves with the gallery.
    let moved = folder.path().join("moved");
    folders::copy(&path, &moved).unwrap();
    let first = inode(&cache_of(&moved));
    assert_eq!(hits(&open(&moved)), hits(&built));
    assert_eq!(inode(&cache_of(&moved)), first);
}

/// Opens the gallery with `bytes` as its cache and asserts that the graph is built anew and the cache with it.
#[track_caller]
fn assert_rebuilt(path: &Path, bytes: &[u8], good: &[u8], expected: &[Vec<Match>]) {
    std::fs::write(cache_of(path), bytes).unwrap();
    let before = inode(&cache_of(path));
    assert_eq!(hits(&open(path)), expected);
    assert_ne!(inode(&cache_of(path)), before, "it was believed");
    assert!(std::fs::read(cache_of(path)).unwrap() == good, "the graph is another one");
}

#[test]
fn what_is_damaged_stale_or_foreign_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, 0, FEW);
    let expected = hits(&open(&path));
    let good = std::fs::read(cache_of(&path)).unwrap();

    // Cut short, too long, and every kind of byte flipped: header, version, key, lists, checksum.
    for length in [0, 7, 79, 80, 200, good.len() / 2, good.len() - 65, good.len() - 1] {
        assert_rebuilt(&path, &good[..length], &good, &expected);
    }
    assert_rebuilt(&path, &[&good[..], &[0]].concat(), &good, &expected);
    let mut stream = Stream::new(1, "flips", &[]);
    let places = [0, 8, 12, 16, 50, 80, 88, good.len() - 1, good.len() - 64];
    let anywhere = (0..40).map(|_| stream.below(good.len())).collect::<Vec<_>>();
    for place in places.into_iter().chain(anywhere) {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        assert_rebuilt(&path, &bytes, &good, &expected);
    }

    // Whole, but of another matrix of the same shape, and of other parameters.
    let other = folder.path().join("other");
    create(&other, 7_000, FEW);
    drop(open(&other));
    assert_rebuilt(&path, &std::fs::read(cache_of(&other)).unwrap(), &good, &expected);
    create(&other, 0, HnswParameters { m: 4, ..FEW });
    drop(open(&other));
    assert_rebuilt(&path, &std::fs::read(cache_of(&other)).unwrap(), &good, &expected);

    // With a right checksum, but numbers that lead out of the lists: nothing may stumble over them.
    for _ in 0..200 {
        let mut bytes = good[..good.len() - 64].to_vec();
        let place = 80 + stream.below((bytes.len() - 80) / 4) * 4;
        let number = [u32::MAX, 1 << 31, N as u32, 0][stream.below(4)];
        bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(fingerprint::of_bytes(&bytes).as_bytes());
        std::fs::write(cache_of(&path), &bytes).unwrap();
        let found = hits(&open(&path));
        assert!(found.iter().all(|found| found.len() == 2));
    }
}

#[test]
fn a_cache_that_cannot_be_written_or_read_costs_only_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, 0, FEW);
    // A file where the folder would be: nothing can be written there, by anybody.
    std::fs::write(path.join("graphs"), "in the way").unwrap();
    let gallery = Gallery::open(&path).unwrap();
    let built = gallery.build_index(Progress::default(), Cancel::default()).unwrap();
    assert_eq!(built.n_photos, N);
    assert!(built.not_kept.unwrap().to_string().contains("graphs"));
    let in_the_way = hits(&gallery);
    std::fs::remove_file(path.join("graphs")).unwrap();
    // A folder where the file would be.
    std::fs::create_dir_all(cache_of(&path)).unwrap();
    assert_eq!(hits(&open(&path)), in_the_way);
    std::fs::remove_dir_all(path.join("graphs")).unwrap();
    assert_eq!(hits(&open(&path)), in_the_way);
    let left: Vec<_> = std::fs::read_dir(path.join("graphs")).unwrap().collect();
    // And the file that is locked by who builds.
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_is_added_is_found_and_old_graphs_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, 0, FEW);
    let gallery = with_graph(write(&path));
    let first = inode(&cache_of(&path));
    let added: Vec<usize> = (N..N + 40).collect();
    let photos = added.iter().map(|&number| Photo::new(id(number))).collect();
    gallery.add(photos, added.iter().flat_map(|&number| embedding(number)).collect()).unwrap();
    let assert_found = |gallery: &Gallery| {
        for &number in &added {
            let found = gallery.snapshot().search(&embedding(number), 1, &Filter::everything()).unwrap();
            assert_eq!((found[0].id.as_str(), found[0].distance), (id(number).as_str(), 0.0));
        }
    };
    assert_found(&gallery);
    assert_eq!(gallery.snapshot().n_without_graph(), 40);
    drop(gallery);
    // The graph of the old photos is as good as before.
    assert_found(&open(&path));
    assert_eq!(inode(&cache_of(&path)), first);
    let gallery = with_graph(write(&path));
    gallery.compact(Default::default(), Default::default()).unwrap();
    assert_eq!(gallery.snapshot().n_without_graph(), 0);
    assert_found(&gallery);
    let entries = std::fs::read_dir(path.join("graphs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = entries.filter(|name| name != "building").collect();
    assert_eq!(names, ["00000002.graph"]);
}

#[test]
fn auto_is_exact_until_that_costs_more_than_the_embedding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, 0, FEW);
    let gallery = with_graph(write(&path));
    gallery.set_index(IndexSpec::Auto).unwrap();
    assert_eq!((gallery.kind(), gallery.costs()), (IndexKind::Exact, None));
    // 4,500 numbers: as many as may be.
    let costs = Costs { embedding_us: 45, exact_numbers_per_us: 100 };
    gallery.set_costs(costs).unwrap();
    assert_eq!(gallery.kind(), IndexKind::Exact);
    gallery.add(vec![Photo::new("one more")], vec![0.5; 3]).unwrap();
    assert_eq!(gallery.kind(), IndexKind::Hnsw);
    drop(gallery);
    let gallery = with_graph(write(&path));
    assert_eq!((gallery.costs(), gallery.index()), (Some(costs), IndexSpec::Auto));
    assert_eq!(gallery.snapshot().n_without_graph(), 1);
    let stop = || true;
    let cancelled = gallery.measure_recall(Default::default(), Cancel::new(&stop));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let recall = gallery.measure_recall(Default::default(), Default::default()).unwrap().unwrap();
    assert_eq!((recall.k, recall.n_queries, recall.n_photos, recall.n_nearest), (10, 200, 1_501, 2_000));
    assert!(recall.value() > 0.95 && recall.n_found <= recall.n_nearest, "{recall:?}");
    gallery.remove(&["one more"]).unwrap();
    drop(gallery);
    let gallery = open(&path);
    assert_eq!((gallery.kind(), gallery.manifest().recall), (IndexKind::Exact, Some(recall)));
    assert_eq!(gallery.snapshot().n_without_graph(), N);
    assert_eq!(gallery.measure_recall(Default::default(), Default::default()).unwrap(), None);
}

/// The folder of a gallery on a disk where nothing can be written.
#[test]
fn a_retriever_answers_exactly_while_the_graph_is_built_and_says_that_it_cannot_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    create(&path, 0, FEW);
    let queries: Vec<f32> = (0..20).flat_map(|number| embedding(1_000_000 + number)).collect();
    let everything = Filter::everything().without_ids(["no such photo"]);
    let exact = |retriever: &Retriever| {
        retriever.gallery().folder().unwrap().snapshot().search_batch(&queries, 2, &everything).unwrap()
    };
    let found = |retriever: &Retriever| {
        retriever
            .gallery()
            .folder()
            .unwrap()
            .snapshot()
            .search_batch(&queries, 2, &Filter::everything())
            .unwrap()
    };

    let without = Retriever::open(&path, RetrieverOptions::cpu().without_building_graphs()).unwrap();
    assert_eq!(without.gallery().n_lacking_graph(), N);
    assert_eq!(found(&without), exact(&without));
    assert!(!cache_of(&path).exists());

    std::fs::write(path.join("graphs"), "in the way").unwrap();
    let retriever = Retriever::open(&path, RetrieverOptions::cpu()).unwrap();
    wait_until(|| retriever.gallery().n_lacking_graph() == 0);
    assert_ne!(found(&retriever), exact(&retriever));
    wait_until(|| retriever.troubles().iter().any(|trouble| trouble.contains("cannot be kept")));
    std::fs::remove_file(path.join("graphs")).unwrap();

    // Two that open it at once build it once: the one that comes second reads what the first has kept.
    let two = [(); 2].map(|()| Retriever::open(&path, RetrieverOptions::cpu()).unwrap());
    two.iter().for_each(|retriever| wait_until(|| retriever.gallery().n_lacking_graph() == 0));
    assert_eq!(found(&two[0]), found(&two[1]));
    // Dropped at any moment, also while it builds.
    std::fs::remove_file(cache_of(&path)).unwrap();
    drop(Retriever::open(&path, RetrieverOptions::cpu()).unwrap());
    drop(two);
    assert_eq!(Gallery::open(&path).unwrap().len(), N);
}
