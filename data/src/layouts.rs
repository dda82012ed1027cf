//! The layouts that downloads come in. Each is a file, which says how it is called, recognised and read, and a line of
//! [`Layout::ALL`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::counts;
use crate::found::{Entry, Found};
use crate::{Error, Result};
use sketchfind_core::strokes::Raster;

mod annotation;
mod files;
mod manifest;
mod pairs;
mod plain;
mod qmul_v1;
mod qmul_v1_arrays;
mod qmul_v2;
mod qmul_v2_strokes;
mod sketchy;
mod splits;

use files::folders_in;

/// A layout of files. Each is described in a file of its own, as a constant of this type.
#[derive(Clone, Copy)]
pub struct Layout {
    name: &'static str,
    holds: &'static str,
    /// The version of QMUL's benchmarks that come in it.
    version: Option<&'static str>,
    is_in: fn(&Path) -> Result<bool>,
    read: fn(&Path, &Options) -> Result<Found>,
}

impl Layout {
    /// All layouts.
    pub const ALL: &'static [Layout] = &[
        Layout::PLAIN,
        Layout::MANIFEST,
        Layout::QMUL_V1,
        Layout::QMUL_V1_ARRAYS,
        Layout::QMUL_V2,
        Layout::QMUL_V2_STROKES,
        Layout::SKETCHY,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// What a folder of this layout holds, in words.
    pub fn describe(self) -> &'static str {
        self.holds
    }

    /// Says that a folder does not hold what this layout has.
    fn missing(self, dir: &Path) -> Error {
        broken(dir, format!("expected {}", self.holds))
    }
}

/// Layouts are told apart by their names.
impl PartialEq for Layout {
    fn eq(&self, other: &Layout) -> bool {
        self.name == other.name
    }
}

impl Eq for Layout {}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layout({})", self.name)
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layout> {
        let found = Layout::ALL.iter().find(|layout| layout.name == text);
        found.copied().ok_or_else(|| Error::OutOfRange {
            what: "layout",
            value: format!("'{text}'"),
            expected: Layout::ALL.iter().map(|layout| layout.name).collect::<Vec<_>>().join(", "),
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
    let mut found = (layout.read)(dir, options)?;
    if let Some(deeper) = &deeper {
        found.notes.push(format!("it lies one folder deeper, in '{}'", deeper.display()));
    }
    let size = found.counts();
    match (counts::benchmark_of(size), layout.version) {
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
            if (layout.is_in)(dir)? {
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
        None => format!("it has no known layout, expected one of: {}", list(Layout::ALL)),
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
