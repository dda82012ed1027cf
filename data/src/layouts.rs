//! The layouts that downloads come in. Each is a file: how it is recognised, and how it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sketchfind_core::dataset::{Modality, Split};
use sketchfind_core::photo_files::id_of;
use sketchfind_core::random::Stream;

use crate::counts;
use crate::found::{Entry, Found, Naming, Pairing, Source};
use crate::strokes::Raster;
use crate::{Error, Result};

mod arrays;
mod manifest;
mod plain;
mod qmul_v1;
mod qmul_v2;
mod sketchy;

/// A layout of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Folders `photo/` and `sketch/`, paired by name.
    Plain,
    /// A `manifest.csv`.
    Manifest,
    /// QMUL-Shoe-V1, Chair-V1, Handbag as folders: `train` and `test`, each with `images` and `sketches`.
    QmulV1,
    /// The same as MATLAB arrays: `*_sketch_db_train.mat`, `*_image_db_train.mat`, ...
    QmulV1Arrays,
    /// QMUL-Shoe-V2, Chair-V2: photos, sketches called `<photo>_<n>`, and lists of both splits.
    QmulV2,
    /// The same with a coordinate file in place of the sketches' pictures.
    QmulV2Strokes,
    /// The Sketchy database.
    Sketchy,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Layout; 7] = [
        Layout::Plain,
        Layout::Manifest,
        Layout::QmulV1,
        Layout::QmulV1Arrays,
        Layout::QmulV2,
        Layout::QmulV2Strokes,
        Layout::Sketchy,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Plain => "plain",
            Layout::Manifest => "manifest",
            Layout::QmulV1 => "qmul-v1",
            Layout::QmulV1Arrays => "qmul-v1-arrays",
            Layout::QmulV2 => "qmul-v2",
            Layout::QmulV2Strokes => "qmul-v2-strokes",
            Layout::Sketchy => "sketchy",
        }
    }

    /// What a folder of this layout holds, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Layout::Plain => "folders 'photo' and 'sketch'",
            Layout::Manifest => "a file 'manifest.csv'",
            Layout::QmulV1 => "folders 'train' and 'test', each with 'images' and 'sketches'",
            Layout::QmulV1Arrays => {
                "files '*_sketch_db_train.mat' and '*_image_db_train.mat' or '*_edge_db_train.mat'"
            }
            Layout::QmulV2 => {
                "a folder '*_photo', a folder '*_sketch', and lists 'photo_train.txt' and 'photo_test.txt'"
            }
            Layout::QmulV2Strokes => {
                "a coordinate file '*_Coordinate'; photos in a folder '*_photo' or given"
            }
            Layout::Sketchy => {
                "folders 'photo/tx_*/<category>' and 'sketch/tx_*/<category>', in '256x256' or not"
            }
        }
    }

    fn is_in(self, dir: &Path) -> Result<bool> {
        match self {
            Layout::Plain => plain::is_in(dir),
            Layout::Manifest => Ok(file(dir, "manifest.csv").is_some()),
            Layout::QmulV1 => Ok(qmul_v1::is_in(dir)),
            Layout::QmulV1Arrays => arrays::is_in(dir),
            Layout::QmulV2 => qmul_v2::is_in(dir),
            Layout::QmulV2Strokes => qmul_v2::has_coordinates(dir),
            Layout::Sketchy => Ok(sketchy::root(dir).is_some()),
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layout> {
        Layout::ALL.into_iter().find(|layout| layout.name() == text).ok_or_else(|| Error::OutOfRange {
            what: "layout",
            value: format!("'{text}'"),
            expected: Layout::ALL.map(Layout::name).join(", "),
        })
    }
}

/// What a layout leaves to the user.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the photos are, if the layout's folder does not hold them.
    pub photos: Option<PathBuf>,
    /// The share of photos that are for testing, where the layout does not say which are.
    pub test_share: Option<f64>,
    /// The seed of that choice.
    pub seed: u64,
    /// Whether edge maps are taken where a layout has both colour photos and their edge maps.
    pub edges: bool,
    /// Whether sketches without a photo, and photos in neither split, are left out, with a note, and not refused.
    pub leave_out: bool,
    /// How vector sketches are drawn.
    pub raster: Raster,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            photos: None,
            test_share: None,
            seed: 1,
            edges: false,
            leave_out: false,
            raster: Raster::default(),
        }
    }
}

/// Reads the folder `dir` in a layout, or in the one layout that it is recognised to have. Where the download lies in the
/// one folder of it that has the layout, as archives are unpacked, that is read, with a note. Names of folders and files are
/// known in any case.
///
/// # Errors
/// [`Error::Dataset`] where it has no or several layouts, a file that it should have is missing, or a sketch cannot be
/// paired; [`Error::Io`] and [`Error::Malformed`] where a file cannot be read.
pub fn find(dir: &Path, layout: Option<Layout>, options: &Options) -> Result<Found> {
    let (layout, deeper) = recognise(dir, layout)?;
    let dir = deeper.as_deref().unwrap_or(dir);
    let found = match layout {
        Layout::Plain => plain::read(dir, options),
        Layout::Manifest => manifest::read(dir),
        Layout::QmulV1 => qmul_v1::read(dir, options),
        Layout::QmulV1Arrays => arrays::read(dir, options),
        Layout::QmulV2 => qmul_v2::read(dir, options),
        Layout::QmulV2Strokes => qmul_v2::read_strokes(dir, options),
        Layout::Sketchy => sketchy::read(dir, options),
    };
    let mut found = found?;
    if let Some(deeper) = &deeper {
        found.notes.push(format!("it lies one folder deeper, in '{}'", deeper.display()));
    }
    let version = match layout {
        Layout::QmulV1 | Layout::QmulV1Arrays => Some("V1"),
        Layout::QmulV2 | Layout::QmulV2Strokes => Some("V2"),
        Layout::Plain | Layout::Manifest | Layout::Sketchy => None,
    };
    let size = found.counts();
    match (counts::benchmark_of(size), version) {
        (Some(name), _) => found.notes.push(format!("its size is that of {name}")),
        (None, Some(version)) => found.notes.push(counts::difference(size, version)),
        (None, None) => {}
    }
    found.entries.sort_by(|a, b| (a.modality as u8, &a.name).cmp(&(b.modality as u8, &b.name)));
    Ok(found)
}

/// The layout that `dir` or one folder in it has, of all or of one that is named, and that folder.
fn recognise(dir: &Path, named: Option<Layout>) -> Result<(Layout, Option<PathBuf>)> {
    // A manifest may be named itself.
    if let (Some(layout), true) = (named, dir.is_file()) {
        return Ok((layout, None));
    }
    std::fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let candidates = named.map_or(Layout::ALL.to_vec(), |layout| vec![layout]);
    let fitting_in = |dir: &Path| -> Result<Vec<Layout>> {
        let mut fitting = Vec::new();
        for layout in &candidates {
            if layout.is_in(dir)? {
                fitting.push(*layout);
            }
        }
        Ok(fitting)
    };
    let fitting = fitting_in(dir)?;
    let list = |layouts: &[Layout]| {
        let said = layouts.iter().map(|layout| format!("{layout} ({})", layout.describe()));
        said.collect::<Vec<_>>().join("; ")
    };
    match fitting[..] {
        [layout] => return Ok((layout, None)),
        [] => {}
        _ if named.is_some() => {}
        _ => return Err(broken(dir, format!("it has several layouts, name one: {}", list(&fitting)))),
    }
    let mut deeper = Vec::new();
    for folder in folders_in(dir)? {
        // What cannot be told apart there is no reason to refuse what is asked for here.
        deeper.extend(
            fitting_in(&folder).unwrap_or_default().into_iter().map(|layout| (layout, folder.clone())),
        );
    }
    let expected = match named {
        Some(layout) => format!("it has not the layout {layout}, expected {}", layout.describe()),
        None => format!("it has no known layout, expected one of: {}", list(&Layout::ALL)),
    };
    match &deeper[..] {
        [(layout, folder)] => Ok((*layout, Some(folder.clone()))),
        [] => {
            let hint = match far_below(dir, &fitting_in)? {
                Some(folder) => format!("; hint: '{}' has one, name that", folder.display()),
                None => String::new(),
            };
            Err(broken(dir, format!("{expected}{hint}")))
        }
        several => {
            let said = several.iter().map(|(layout, folder)| format!("'{}' ({layout})", folder.display()));
            let said = said.collect::<Vec<_>>().join(", ");
            Err(broken(dir, format!("{expected}; hint: several folders in it have one, name one: {said}")))
        }
    }
}

/// The folders in `dir`, without those that an archive tool of macOS adds, which are copies without content.
fn folders_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = children(dir)?;
    folders.retain(|path| path.is_dir() && name_of(path) != "__MACOSX");
    Ok(folders)
}

/// The first folder two or three levels below `dir` that has a layout. Few are looked at: a download is no disk.
fn far_below(dir: &Path, fitting_in: &dyn Fn(&Path) -> Result<Vec<Layout>>) -> Result<Option<PathBuf>> {
    const MOST: usize = 1000;
    let mut level = folders_in(dir)?;
    for _ in 0..2 {
        let below: Vec<PathBuf> =
            level.iter().take(MOST).flat_map(|folder| folders_in(folder).unwrap_or_default()).collect();
        let found =
            below.iter().take(MOST).find(|folder| fitting_in(folder).is_ok_and(|found| !found.is_empty()));
        if let Some(found) = found {
            return Ok(Some(found.clone()));
        }
        level = below;
    }
    Ok(None)
}

fn broken(path: &Path, reason: String) -> Error {
    Error::Dataset { path: path.to_owned(), reason }
}

fn found(layout: Layout, entries: Vec<Entry>, options: &Options) -> Found {
    Found {
        layout,
        entries,
        further: BTreeMap::new(),
        triplets: Vec::new(),
        notes: Vec::new(),
        raster: options.raster,
    }
}

/// The folders and files in `dir`, sorted by name; hidden ones are left out.
fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if !name_of(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first of some folders that is there, in any case.
fn folder(dir: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().filter_map(|name| in_any_case(dir, name)).find(|path| path.is_dir())
}

/// The file called `name`, in any case.
fn file(dir: &Path, name: &str) -> Option<PathBuf> {
    in_any_case(dir, name).filter(|path| path.is_file())
}

/// What is called `name` in `dir`, or else the one entry that is called so in another case.
fn in_any_case(dir: &Path, name: &str) -> Option<PathBuf> {
    let path = dir.join(name);
    if path.exists() {
        return Some(path);
    }
    let mut found = children(dir).unwrap_or_default();
    found.retain(|path| name_of(path).eq_ignore_ascii_case(name));
    if found.len() == 1 { found.pop() } else { None }
}

/// Image files below `dir` by name: the path relative to it, without ending. Two files of one name are an error.
fn images(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for file in sketchfind_core::dataset::image_files(dir)? {
        let name = id_of(&file.with_extension(""));
        if let Some(other) = found.insert(name.clone(), dir.join(&file)) {
            let (a, b) = (other.display(), dir.join(&file));
            return Err(broken(dir, format!("'{name}' is there twice: '{a}' and '{}'", b.display())));
        }
    }
    Ok(found)
}

fn photo(name: String, split: Split, source: Source) -> Entry {
    Entry { instance: name.clone(), name, modality: Modality::Photo, split, source }
}

/// Adds sketches to photos by name. Where `leave_out` is set, one that has no photo is noted and left out.
fn pair(
    dir: &Path,
    photos: Vec<Entry>,
    sketches: impl IntoIterator<Item = (String, Source)>,
    naming: Naming,
    leave_out: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Entry>> {
    let pairing = Pairing::new(&photos, naming);
    let (mut entries, mut left_out) = (Vec::new(), Vec::new());
    for (name, source) in sketches {
        match pairing.find(&name) {
            Ok((instance, split)) => {
                entries.push(Entry { name, modality: Modality::Sketch, instance, split, source });
            }
            Err(reason) if leave_out => left_out.push(reason),
            Err(reason) => return Err(broken(dir, reason)),
        }
    }
    if let Some(first) = left_out.first() {
        notes.push(format!("{} sketches are left out, such as: {first}", left_out.len()));
    }
    let mut all = photos;
    all.extend(entries);
    Ok(all)
}

/// The names in a list, one a line; empty lines are skipped, endings of images and folders before a name dropped.
fn names_in(list: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(list).map_err(Error::io("read", list))?;
    // Some editors put a byte order mark before the first name.
    Ok(text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let name = line.rsplit(['/', '\\']).next().unwrap_or(line);
            without_ending(name).to_owned()
        })
        .collect())
}

fn without_ending(name: &str) -> &str {
    const ENDINGS: [&str; 8] = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"];
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending));
    ending.map_or(name, |ending| &name[..name.len() - ending.len()])
}

/// The split of each photo by a training and a test list.
fn splits_of_lists(dir: &Path, train: &Path, test: &Path) -> Result<BTreeMap<String, Split>> {
    let mut splits = BTreeMap::new();
    for (list, split) in [(train, Split::Train), (test, Split::Test)] {
        for name in names_in(list)? {
            if splits.insert(name.clone(), split).is_some_and(|other| other != split) {
                return Err(broken(dir, format!("'{name}' is in the lists of both splits")));
            }
        }
    }
    Ok(splits)
}

/// Draws which of some photos are for testing: a share of them, rounded, with a seed.
fn draw_splits(dir: &Path, names: Vec<String>, options: &Options) -> Result<BTreeMap<String, Split>> {
    let Some(share) = options.test_share else {
        let reason = "it does not say which photos are for testing: expected folders 'train' and 'test' in both, or \
                      lists 'train.txt' and 'test.txt', or a share to draw (--test-share)";
        return Err(broken(dir, reason.into()));
    };
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::OutOfRange {
            what: "test share",
            value: share.to_string(),
            expected: "0 to 1".into(),
        });
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    Stream::new(options.seed, "test photos", &[]).shuffle(&mut order);
    let n_test = (names.len() as f64 * share).round() as usize;
    let test: std::collections::BTreeSet<usize> = order.into_iter().take(n_test).collect();
    let split = |index| if test.contains(&index) { Split::Test } else { Split::Train };
    Ok(names.into_iter().enumerate().map(|(index, name)| (name, split(index))).collect())
}

/// Photos with the splits of `splits`; one that has none is an error, or left out with a note.
fn photos_with(
    dir: &Path,
    images: BTreeMap<String, PathBuf>,
    splits: &BTreeMap<String, Split>,
    leave_out: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Entry>> {
    if let Some(name) = splits.keys().find(|name| !images.contains_key(*name)) {
        return Err(broken(dir, format!("the photo '{name}' of its lists is missing")));
    }
    let (mut photos, mut left_out) = (Vec::new(), Vec::new());
    for (name, path) in images {
        match splits.get(&name) {
            Some(split) => photos.push(photo(name, *split, Source::File(path))),
            None if leave_out => left_out.push(name),
            None => {
                let reason =
                    format!("the photo '{name}' is in neither split's list (--leave-out leaves such out)");
                return Err(broken(dir, reason));
            }
        }
    }
    if let Some(first) = left_out.first() {
        notes.push(format!("{} photos in neither list are left out, such as '{first}'", left_out.len()));
    }
    Ok(photos)
}
