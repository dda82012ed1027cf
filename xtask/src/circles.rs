//! No circles among the files of a crate: whoever reads one file need not have read another that needs the first.
//!
//! Read are the paths that begin with `crate` or `super`, in `use` and elsewhere. A file and those in its folder may use each
//! other: they are one room. Tests are left out, and so is what a macro writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Result;

/// A module's path in its crate.
type Module = Vec<String>;

/// What is wrong in the crate in `folder`: a line for each circle, with the files in it.
pub(crate) fn of_crate(folder: &Path) -> Result<Vec<String>> {
    let mut texts = BTreeMap::new();
    let source = folder.join("src");
    if source.is_dir() {
        read(&source, &mut Vec::new(), &mut texts)?;
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let circles = circles_among(&texts);
    let line = |circle: BTreeSet<Module>| {
        let files: Vec<String> = circle.iter().map(|module| format!("{}.rs", module.join("/"))).collect();
        format!("{name}/src: {} use each other in a circle", files.join(", "))
    };
    Ok(circles.into_iter().map(line).collect())
}

fn read(folder: &Path, module: &mut Module, texts: &mut BTreeMap<Module, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        module.push(stem);
        if path.is_dir() {
            read(&path, module, texts)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.insert(module.clone(), fs::read_to_string(&path)?);
        }
        module.pop();
    }
    Ok(())
}

/// Modules that reach each other, where neither stands in the other's folder.
fn circles_among(texts: &BTreeMap<Module, String>) -> BTreeSet<BTreeSet<Module>> {
    let uses: BTreeMap<&Module, BTreeSet<Module>> =
        texts.iter().map(|(module, text)| (module, used_by(module, text, texts))).collect();
    let reached = |from: &Module| {
        let (mut reached, mut todo) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = todo.pop() {
            let next = uses.get(&module).into_iter().flatten();
            todo.extend(next.filter(|next| reached.insert((*next).clone())).cloned());
        }
        reached
    };
    let all: BTreeMap<&Module, BTreeSet<Module>> =
        texts.keys().map(|module| (module, reached(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, reached) in all.iter().filter(|(module, reached)| reached.contains(**module)) {
        let is_back = |other: &&Module| all.get(*other).is_some_and(|back| back.contains(*module));
        circles.insert(reached.iter().filter(is_back).cloned().collect());
    }
    circles
}

fn used_by(module: &Module, text: &str, texts: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for (word, base) in [("crate::", Vec::new()), ("super::", module[..module.len() - 1].to_vec())] {
        for (start, _) in text.match_indices(word) {
            let is_whole = !text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let mut paths = Vec::new();
            if is_whole {
                tree(&text[start + word.len()..], &base, &mut paths);
            }
            for path in paths {
                let longest = (1..=path.len()).rev().map(|n| path[..n].to_vec());
                used.extend(longest.into_iter().find(|prefix| texts.contains_key(prefix)));
            }
        }
    }
    used.retain(|other| !other.starts_with(module) && !module.starts_with(other));
    used
}

/// The paths of `a::b::{c, d::e}` behind `base`. Returns what follows.
fn tree<'t>(text: &'t str, base: &[String], paths: &mut Vec<Module>) -> &'t str {
    let (mut path, mut rest) = (base.to_vec(), text.trim_start());
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            while !group.trim_start().is_empty() && !group.trim_start().starts_with('}') {
                group = tree(group, &path, paths).trim_start();
                group = group.strip_prefix(',').unwrap_or(group);
                if !group.trim_start().starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                    break;
                }
            }
            return group.trim_start().strip_prefix('}').unwrap_or(group);
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (segment, after) = rest.split_at(end);
        match segment {
            "" => {}
            "super" => drop(path.pop()),
            _ => path.push(segment.to_owned()),
        }
        match after.strip_prefix("::") {
            Some(after) if !segment.is_empty() => rest = after,
            _ => {
                paths.push(path);
                return after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let module = |name: &str| name.split('/').map(str::to_owned).collect::<Module>();
        let texts = files.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect();
        let name = |circle: BTreeSet<Module>| circle.iter().map(|module| module.join("/")).collect();
        circles_among(&texts).into_iter().map(name).collect()
    }

    #[test]
    fn circles_are_found_through_groups_and_other_files() {
        let there = ("a", "use crate::{Error, b::{C, d}};");
        assert!(circles(&[there, ("b", "use crate::c::E;"), ("c", "")]).is_empty());
        let back = ("c", "fn f(a: crate::a::A) {}");
        assert_eq!(circles(&[there, ("b", "use crate::c::E;"), back]), [["a", "b", "c"]]);
        let siblings = [("r/a", "use super::b::B;"), ("r/b", "use super::super::r::a::A;")];
        assert_eq!(circles(&siblings), [["r/a", "r/b"]]);
    }

    #[test]
    fn a_folder_comments_and_tests_are_no_circle() {
        assert!(circles(&[("r", "use crate::r::a::A;"), ("r/a", "use super::R;")]).is_empty());
        assert!(circles(&[("a", "use crate::b::B;"), ("b", "// crate::a::A\n/// [`crate::a`]")]).is_empty());
        let tested = "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}";
        assert!(circles(&[("a", "use crate::b::B;"), ("b", tested)]).is_empty());
    }
}
