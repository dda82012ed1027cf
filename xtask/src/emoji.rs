//! The demo's data set: OpenMoji's line drawings as sketches, Fluent's 3D renderings of the same emoji, by other
//! artists, as photos. An instance-level task with natural groups of look-alikes: faces, people, animals.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use resvg::{tiny_skia, usvg};
use serde::Deserialize;

use crate::checkout::{self, provisioned};
use crate::{fetch, say, stage};

/// Pixels of a drawing's side.
const SIDE: u32 = 256;
/// Pairs in the test split.
const N_TEST: usize = 400;
/// Decides the split. Changing it makes another data set.
const SPLIT_SEED: &str = "sketchfind-emoji-1";

/// The columns of OpenMoji's table that are needed.
#[derive(Deserialize)]
struct Emoji {
    hexcode: String,
    group: String,
    skintone: String,
}

#[derive(serde::Serialize)]
struct Row<'a> {
    id: String,
    modality: &'a str,
    instance: &'a str,
    split: &'a str,
    path: String,
}

/// Makes the data set unless it is there, and returns its folder.
pub(crate) fn provide() -> Result<PathBuf> {
    let folder = provisioned("data/emoji");
    let (drawings, renderings) = (fetch::package("openmoji")?, fetch::package("@lobehub/fluent-emoji-3d")?);
    let key = stage::key(&["emoji 1", SPLIT_SEED, &drawings.sha256, &renderings.sha256]);
    if stage::is_current(&folder, &key) {
        return Ok(folder);
    }
    fetch::check_machine()?;
    stage::folder(&folder, &key, "data set of emoji: drawings and renderings", |new| {
        let unpacked = tempfile::tempdir_in(new)?;
        drawings.unpack(unpacked.path(), |member| {
            let is_wanted = member == "data/openmoji.csv" || member.starts_with("black/svg/");
            is_wanted.then(|| PathBuf::from(member))
        })?;
        renderings.unpack(unpacked.path(), |member| {
            (member.starts_with("assets/") && member.ends_with(".webp")).then(|| PathBuf::from(member))
        })?;
        let pairs = pair(unpacked.path())?;
        if pairs.len() < 1500 {
            bail!("only {} emoji are in both packages, expected at least 1500", pairs.len());
        }
        fs::create_dir(new.join("sketch"))?;
        fs::create_dir(new.join("photo"))?;
        for (code, (_, rendering)) in &pairs {
            fs::rename(rendering, new.join(format!("photo/{code}.webp")))?;
        }
        rasterise_all(&pairs, &new.join("sketch"))?;
        write_manifest(&pairs, &new.join("manifest.csv"))?;
        fs::write(
            new.join("LICENCES.md"),
            format!(
                "sketch/: OpenMoji, rasterised; {}\nphoto/: Fluent Emoji 3D by Microsoft; {}\n",
                drawings.described(),
                renderings.described()
            ),
        )?;
        say::line(&format!("   {} pairs, {N_TEST} of them for testing", pairs.len()));
        Ok(())
    })?;
    Ok(folder)
}

/// Code point to the files of its drawing and its rendering: those that are in both packages, without skin-tone
/// variants and flags, which only differ in colour.
fn pair(unpacked: &Path) -> Result<BTreeMap<String, (PathBuf, PathBuf)>> {
    let mut renderings = BTreeMap::new();
    for entry in fs::read_dir(unpacked.join("assets"))? {
        let path = entry?.path();
        renderings.insert(normalised(&path.file_stem().unwrap_or_default().to_string_lossy()), path);
    }
    let table = unpacked.join("data/openmoji.csv");
    let mut reader = csv::Reader::from_path(&table).context("cannot read openmoji.csv")?;
    let mut pairs = BTreeMap::new();
    for emoji in reader.deserialize() {
        let emoji: Emoji = emoji.context("openmoji.csv")?;
        let drawing = unpacked.join(format!("black/svg/{}.svg", emoji.hexcode));
        let code = normalised(&emoji.hexcode);
        if emoji.group == "flags" || !emoji.skintone.is_empty() || !drawing.is_file() {
            continue;
        }
        if let Some(rendering) = renderings.get(&code) {
            pairs.insert(code, (drawing, rendering.clone()));
        }
    }
    Ok(pairs)
}

/// A code point's name without the variation selector FE0F, which the packages use differently, in capitals.
fn normalised(code: &str) -> String {
    let code = code.to_uppercase();
    code.split('-').filter(|part| *part != "FE0F").collect::<Vec<_>>().join("-")
}

fn rasterise_all(pairs: &BTreeMap<String, (PathBuf, PathBuf)>, folder: &Path) -> Result<()> {
    let work: Vec<(&String, &PathBuf)> = pairs.iter().map(|(code, (drawing, _))| (code, drawing)).collect();
    let next = AtomicUsize::new(0);
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some((code, drawing)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let png = rasterise(drawing)?;
                        fs::write(folder.join(format!("{code}.png")), png)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// A drawing as PNG, black on white.
fn rasterise(drawing: &Path) -> Result<Vec<u8>> {
    let broken = || format!("cannot rasterise '{}'", drawing.display());
    let svg = fs::read(drawing).with_context(broken)?;
    let tree = usvg::Tree::from_data(&svg, &usvg::Options::default()).with_context(broken)?;
    let mut picture = tiny_skia::Pixmap::new(SIDE, SIDE).with_context(broken)?;
    picture.fill(tiny_skia::Color::WHITE);
    let size = tree.size();
    let scale = SIDE as f32 / size.width().max(size.height());
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut picture.as_mut());
    picture.encode_png().with_context(broken)
}

fn write_manifest(pairs: &BTreeMap<String, (PathBuf, PathBuf)>, path: &Path) -> Result<()> {
    let mut order: Vec<&String> = pairs.keys().collect();
    order.sort_by_key(|code| checkout::sha256(format!("{SPLIT_SEED}:{code}").as_bytes()));
    let test: std::collections::BTreeSet<&String> = order.into_iter().take(N_TEST).collect();
    let mut rows = Vec::new();
    for code in pairs.keys() {
        let split = if test.contains(code) { "test" } else { "train" };
        for (modality, ending) in [("photo", "webp"), ("sketch", "png")] {
            let (id, path) = (format!("{modality}/{code}"), format!("{modality}/{code}.{ending}"));
            rows.push(Row { id, modality, instance: code, split, path });
        }
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let mut writer = csv::Writer::from_path(path)?;
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_compared_without_the_variation_selector() {
        assert_eq!(normalised("2764-FE0F-200D-1F525"), normalised("2764-200d-1f525"));
        assert_eq!(normalised("1f600"), "1F600");
    }

    #[test]
    fn a_drawing_is_black_on_white() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.svg");
        let svg = r#"<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg"><rect x="0" y="0" width="36" height="72"/></svg>"#;
        fs::write(&path, svg).unwrap();
        let png = rasterise(&path).unwrap();
        let picture = tiny_skia::Pixmap::decode_png(&png).unwrap();
        assert_eq!((picture.width(), picture.height()), (SIDE, SIDE));
        let red = |x, y| picture.pixel(x, y).unwrap().red();
        assert_eq!((red(10, 128), red(250, 128)), (0, 255));
    }
}
