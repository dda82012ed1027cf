//! A study as it stands in a file: data sets, methods, seeds, and the configuration of each run.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sketchfind_core::dataset::Split;
use sketchfind_eval::Bootstrap;

use super::rows::{ALL, SUMMARY};
use crate::config::Config;
use crate::{Error, Result};

/// A study, as it stands in a file. Paths are relative to that file's folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// The seeds; each method is trained with each on each data set that has none of its own.
    pub seeds: Vec<u64>,
    /// The data sets.
    pub dataset: Vec<StudyDataset>,
    /// The methods. The others are compared to the first.
    pub method: Vec<StudyMethod>,
    /// Resamples of intervals and tests.
    pub samples: usize,
    /// The share of intervals that should cover the true value, such as 0.95.
    pub confidence: f64,
    #[serde(skip)]
    pub(super) folder: PathBuf,
    #[serde(skip)]
    origin: PathBuf,
}

/// A data set of a study.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyDataset {
    /// Its name in results: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Its folder or manifest.
    pub data: PathBuf,
    /// Photos without sketches to train on besides: a folder.
    pub photos: Option<PathBuf>,
    /// The data set, earlier in the study, whose runs are evaluated on this one's test split; nothing is trained then. So
    /// a retriever is measured on products that it never saw.
    pub runs_of: Option<String>,
    /// The split that is evaluated; `train` with `runs_of` only, where it was not trained on: so settings are chosen.
    pub split: Option<Split>,
    /// The configuration that its runs begin with; with `runs_of` that of the other data set.
    pub config: PathBuf,
    /// Its own seeds, in the place of the study's: fewer where runs take long.
    pub seeds: Option<Vec<u64>>,
    /// What differs from that configuration, as its tables and keys.
    #[serde(default)]
    pub set: toml::Table,
}

/// A method of a study.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyMethod {
    /// Its name in results: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// What differs from the data set's configuration, as its tables and keys.
    #[serde(default)]
    pub set: toml::Table,
}

impl Study {
    /// Reads and checks a study and every configuration that it leads to.
    ///
    /// # Errors
    /// [`Error::Config`] with what is wrong; [`Error::Core`] where a file cannot be read.
    pub fn load(path: &Path) -> Result<Study> {
        let text = std::fs::read_to_string(path).map_err(sketchfind_core::Error::io("read", path))?;
        let refuse = |reason: String| Error::Config { path: path.to_owned(), reason };
        let mut study: Study = toml::from_str(&text).map_err(|e| refuse(e.to_string().trim().to_owned()))?;
        study.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        study.origin = path.to_owned();
        study.check().map_err(refuse)?;
        study.bootstrap().check()?;
        for dataset in &study.dataset {
            for method in &study.method {
                for &seed in study.seeds_of(dataset) {
                    study.config(dataset, method, seed)?;
                }
            }
        }
        Ok(study)
    }

    pub(super) fn seeds_of<'a>(&'a self, dataset: &'a StudyDataset) -> &'a [u64] {
        dataset.seeds.as_ref().unwrap_or(&self.seeds)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let is_plain = |name: &str| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
        };
        let mut lists = vec![
            ("dataset", self.dataset.iter().map(|d| d.name.clone()).collect::<Vec<_>>()),
            ("method", self.method.iter().map(|m| m.name.clone()).collect()),
        ];
        if let Some(dataset) = self.dataset.iter().find(|set| set.split.is_some() && set.runs_of.is_none()) {
            return Err(format!("dataset '{}' has a split, which goes with runs_of only", dataset.name));
        }
        for (place, dataset) in self.dataset.iter().enumerate() {
            let Some(other) = &dataset.runs_of else { continue };
            let earlier = self.dataset[..place].iter().find(|earlier| earlier.name == *other);
            let is_trained = earlier.is_some_and(|earlier| earlier.runs_of.is_none());
            if !is_trained || !dataset.set.is_empty() || dataset.photos.is_some() {
                return Err(format!(
                    "dataset '{}' has runs_of = '{other}', which takes the name of an earlier data set with runs of its \
                     own, and neither 'set' nor 'photos'",
                    dataset.name
                ));
            }
            if earlier.is_some_and(|earlier| earlier.data == dataset.data) {
                return Err(format!(
                    "dataset '{}' is the one that the runs of '{other}' are trained on",
                    dataset.name
                ));
            }
            if earlier.is_some_and(|earlier| self.seeds_of(earlier) != self.seeds_of(dataset)) {
                return Err(format!("dataset '{}' has other seeds than '{other}'", dataset.name));
            }
        }
        let of_sets = self.dataset.iter().filter_map(|dataset| dataset.seeds.as_ref());
        for seeds in of_sets.chain([&self.seeds]) {
            lists.push(("seeds", seeds.iter().map(u64::to_string).collect()));
        }
        for (what, names) in lists {
            if names.is_empty() {
                return Err(format!("{what} is empty, expected at least one"));
            }
            if what == "dataset" && names.iter().any(|name| name == ALL) {
                return Err(format!(
                    "dataset '{ALL}', which is the name of all of them together in {SUMMARY}"
                ));
            }
            if let Some(name) = names.iter().find(|name| !is_plain(name)) {
                return Err(format!("{what} '{name}', expected lower-case letters, digits, '-', '_', '.'"));
            }
            let mut sorted = names.clone();
            sorted.sort();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("{what} '{}' stands there twice", pair[0]));
            }
        }
        Ok(())
    }

    pub(super) fn dataset_called(&self, name: &str) -> Option<&StudyDataset> {
        self.dataset.iter().find(|dataset| dataset.name == name)
    }

    pub(super) fn bootstrap(&self) -> Bootstrap {
        Bootstrap { samples: self.samples, seed: 1, confidence: self.confidence }
    }

    /// The configuration of one run.
    ///
    /// # Errors
    /// As [`Config::load`], naming the study, the data set and the method.
    pub fn config(&self, dataset: &StudyDataset, method: &StudyMethod, seed: u64) -> Result<Config> {
        let base = self.folder.join(&dataset.config);
        let origin = PathBuf::from(format!(
            "{}, data set '{}', method '{}'",
            self.origin.display(),
            dataset.name,
            method.name
        ));
        let refuse = |reason: String| Error::Config { path: origin.clone(), reason };
        let text = std::fs::read_to_string(&base).map_err(sketchfind_core::Error::io("read", &base))?;
        let mut table: toml::Table =
            toml::from_str(&text).map_err(|e| refuse(format!("'{}': {e}", base.display())))?;
        for set in [&dataset.set, &method.set] {
            if set.contains_key("seed") {
                return Err(refuse("set.seed: the seeds of a study are its 'seeds'".into()));
            }
        }
        merge(&mut table, &dataset.set);
        merge(&mut table, &method.set);
        let seed = i64::try_from(seed).map_err(|e| refuse(format!("seed {seed}: {e}")))?;
        table.insert("seed".into(), toml::Value::Integer(seed));
        Config::parse_in(&table.to_string(), &origin, base.parent().unwrap_or(Path::new("")))
    }
}

/// Puts the entries of `changes` into `table`: a table's into the table of the same name. A table that names another
/// `kind` takes the place of the old one whole, whose other keys belong to the old kind.
fn merge(table: &mut toml::Table, changes: &toml::Table) {
    for (key, change) in changes {
        match (table.get_mut(key), change) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                let is_other_kind = new.get("kind").is_some_and(|kind| old.get("kind") != Some(kind));
                if is_other_kind {
                    *old = new.clone();
                } else {
                    merge(old, new);
                }
            }
            _ => {
                table.insert(key.clone(), change.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_go_into_tables_and_another_kind_takes_a_tables_place() {
        let mut table: toml::Table = toml::from_str(
            "seed = 1\n[train]\nbatch = 16\nmethod = 'baseline'\n[optimiser]\nkind = 'sgd'\nmomentum = 0.9\n",
        )
        .unwrap();
        let changes: toml::Table =
            toml::from_str("train.method = 'meta'\noptimiser = { kind = 'adam', eps = 1e-8 }\n").unwrap();
        merge(&mut table, &changes);
        let expected: toml::Table = toml::from_str(
            "seed = 1\n[train]\nbatch = 16\nmethod = 'meta'\n[optimiser]\nkind = 'adam'\neps = 1e-8\n",
        )
        .unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn a_study_is_refused_by_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.toml");
        let config = include_str!("../../configs/chair-v1-mobilenet.toml")
            .replace("../../.provision/weights/mobilenet_v2.safetensors", "random");
        std::fs::write(folder.path().join("base.toml"), config).unwrap();
        let good = "seeds = [1, 2]\nsamples = 100\nconfidence = 0.95\n\
                    [[dataset]]\nname = 'a'\ndata = 'a'\nconfig = 'base.toml'\n\
                    [[method]]\nname = 'baseline'\n\
                    [[method]]\nname = 'slow'\nset = { train = { learning_rate = 0.0001 } }\n";
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Study::load(&path).map_err(|e| e.to_string())
        };
        let study = load(good).unwrap();
        let config = study.config(&study.dataset[0], &study.method[1], 2).unwrap();
        assert_eq!((config.seed, config.train.learning_rate, config.train.batch), (2, 0.0001, 16));
        for (from, to, part) in [
            ("seeds = [1, 2]", "seeds = []", "seeds is empty"),
            ("seeds = [1, 2]", "seeds = [1, 1]", "'1' stands there twice"),
            ("data = 'a'", "data = 'a'\nseeds = [3, 3]", "'3' stands there twice"),
            ("data = 'a'", "data = 'a'\nseeds = []", "seeds is empty"),
            ("'slow'", "'baseline'", "'baseline' stands there twice"),
            ("name = 'a'", "name = 'all'", "dataset 'all'"),
            ("'slow'", "'../slow'", "'../slow', expected"),
            ("learning_rate = 0.0001", "rate = 0.0001", "rate"),
            ("learning_rate = 0.0001", "method = 'meta'", "method 'slow'': train.method is 'meta'"),
            ("0.95", "1.5", "confidence"),
            ("'base.toml'", "'other.toml'", "other.toml"),
            ("data = 'a'", "data = 'a'\nsplit = 'train'", "which goes with runs_of only"),
            ("data = 'a'", "data = 'a'\nruns_of = 'b'", "an earlier data set"),
            (
                "[[method]]",
                "[[dataset]]\nname = 'b'\ndata = 'a'\nconfig = 'base.toml'\nruns_of = 'a'\n[[method]]",
                "is the one that the runs of 'a' are trained on",
            ),
            (
                "[[method]]",
                "[[dataset]]\nname = 'b'\ndata = 'b'\nconfig = 'base.toml'\nruns_of = 'a'\nseeds = [7]\n[[method]]",
                "other seeds than 'a'",
            ),
            (
                "[[method]]",
                "[[dataset]]\nname = 'b'\ndata = 'b'\nconfig = 'base.toml'\nruns_of = 'a'\nphotos = 'c'\n[[method]]",
                "neither 'set' nor 'photos'",
            ),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good);
            let message = load(&text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
