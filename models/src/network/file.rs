//! Networks as JSON files, for graphs that no name of ours stands for.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sketchfind_core::atomic;

use super::{Head, InputSpec, Network, Node};
use crate::{Error, Result};

/// The version of the format.
pub const FORMAT: u32 = 1;
/// How such files end.
pub const SUFFIX: &str = ".network.json";
/// The largest file; a network of a thousand layers takes some hundred thousand bytes.
const MAX_BYTES: u64 = 16 << 20;

/// A network with what its weights expect of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The network.
    pub network: Network,
    /// What it expects of an image.
    pub input: InputSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    name: String,
    input: Input,
    nodes: Vec<Node>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Input {
    side: u32,
    mean: [f32; 3],
    std: [f32; 3],
}

/// What is looked at first, so that a newer format is refused by its number.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Described {
    /// Writes the network as JSON, atomically. The same network gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Core`] where the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(atomic::write_bytes(path, self.to_json()?.as_bytes())?)
    }

    /// The network as JSON.
    ///
    /// # Errors
    /// [`Error::Description`] where a number is none that JSON has.
    pub fn to_json(&self) -> Result<String> {
        let InputSpec { side, mean, std } = self.input;
        let file = File {
            format: FORMAT,
            name: self.network.name.clone(),
            input: Input { side, mean, std },
            nodes: self.network.nodes.clone(),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|e| Error::Description {
            network: file.name,
            node: 0,
            reason: e.to_string(),
        })?;
        Ok(text + "\n")
    }

    /// Reads a file that [`Described::save`] has written, with every check of [`Network::new`].
    ///
    /// # Errors
    /// [`Error::Core`] where the file cannot be read, [`Error::NetworkFile`] where it is no such file.
    pub fn load(path: &Path) -> Result<Described> {
        let wrong = |reason: String| Error::NetworkFile { path: path.to_owned(), reason };
        let size = std::fs::metadata(path).map_err(sketchfind_core::Error::io("read", path))?.len();
        if size > MAX_BYTES {
            return Err(wrong(format!("it has {size} bytes, expected at most {MAX_BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(sketchfind_core::Error::io("read", path))?;
        Described::parse(&text).map_err(wrong)
    }

    /// Reads such a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Described, String> {
        let not_one = |e: serde_json::Error| format!("not the description of a network: {e}");
        let Version { format } = serde_json::from_str(text).map_err(not_one)?;
        if format != FORMAT {
            return Err(format!("its format is {format}, expected {FORMAT}"));
        }
        let file: File = serde_json::from_str(text).map_err(not_one)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if file.name.is_empty() || file.name.len() > 128 || !file.name.chars().all(is_plain) {
            return Err(format!(
                "its name is '{}', expected letters, digits and _ - .",
                file.name.escape_debug().take(128).collect::<String>()
            ));
        }
        if Network::names().contains(&file.name.as_str()) {
            return Err(format!("its name is '{}', which is that of a network of ours", file.name));
        }
        let Input { side, mean, std } = file.input;
        let is_fine =
            mean.iter().all(|mean| mean.is_finite()) && std.iter().all(|std| *std > 0.0 && std.is_finite());
        if !(1..=1 << 16).contains(&side) || !is_fine {
            return Err(format!("it expects images of the side {side}, mean {mean:?}, std {std:?}"));
        }
        let network = Network::new(&file.name, file.nodes).map_err(|e| e.to_string())?;
        Ok(Described { network, input: InputSpec { side, mean, std } })
    }
}

impl Network {
    /// The network that a configuration names: one of [`Network::names`] with the given head, or the file of one
    /// (`*.json`), which is whole as it is and has no other head.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`] where it is neither; [`Error::NetworkFile`], [`Error::Core`].
    pub fn by_name_or_file(name_or_path: &str, head: Head) -> Result<Network> {
        if is_file(name_or_path) {
            return Ok(Described::load(Path::new(name_or_path))?.network);
        }
        Network::by_name(name_or_path, head)
    }

    /// What the network that a configuration names expects of its input, like [`Network::by_name_or_file`].
    ///
    /// # Errors
    /// As there.
    pub fn input_of_name_or_file(name_or_path: &str) -> Result<InputSpec> {
        if is_file(name_or_path) {
            return Ok(Described::load(Path::new(name_or_path))?.input);
        }
        Network::input_of(name_or_path)
    }
}

/// Whether a configuration's network is a file and no name.
pub fn is_file(name_or_path: &str) -> bool {
    name_or_path.ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Described {
        let mut b = super::super::builder::Builder::new();
        let x = b.conv("conv", b.input(), 3, 8, 3, 2, 1, 1, false);
        let x = b.batch_norm("bn", x, 8);
        let x = b.relu(x);
        b.global_avg_pool(x);
        let network = Network::new("small", b.finish()).unwrap();
        Described { network, input: InputSpec::imagenet(96) }
    }

    #[test]
    fn a_configuration_names_a_file_or_a_network() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.network.json");
        described().save(&path).unwrap();
        assert_eq!(Described::load(&path).unwrap(), described());
        let name = path.to_str().unwrap();
        for head in [Head::Embedding, Head::Classifier] {
            assert_eq!(Network::by_name_or_file(name, head).unwrap(), described().network);
        }
        assert_eq!(Network::input_of_name_or_file(name).unwrap(), described().input);
        let known = Network::by_name_or_file("resnet18", Head::Embedding).unwrap();
        assert_eq!(known, Network::by_name("resnet18", Head::Embedding).unwrap());
        assert!(
            Network::by_name_or_file("no/such.json", Head::Embedding)
                .unwrap_err()
                .to_string()
                .contains("such.json")
        );
        assert!(Network::by_name_or_file("resnet5", Head::Embedding).is_err());
        // Its weights are read for it as for any other.
        let weights = crate::weights::Weights::random(&described().network, 1);
        let file = folder.path().join("small.safetensors");
        weights.save(&file).unwrap();
        let read = crate::weights::import(&file, name).unwrap();
        assert_eq!(read.get("conv.weight"), weights.get("conv.weight"));
        assert!(crate::weights::import(&file, "resnet18").is_err());
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let text = described().to_json().unwrap();
        for (old, new, part) in [
            ("\"format\": 1", "\"format\": 2", "its format is 2, expected 1"),
            ("\"small\"", "\"resnet18\"", "a network of ours"),
            ("\"small\"", "\"../x\"", "'../x'"),
            ("\"relu\"", "\"sigmoid\"", "sigmoid"),
            ("\"groups\": 1", "\"groups\": 0", "groups"),
            ("\"groups\": 1", "\"groups\": 2", "2 groups"),
            ("\"out_channels\": 8", "\"out_channels\": 99999999999", "expected 1 to"),
            ("\"eps\": 0.00001", "\"eps\": -1.0", "epsilon"),
            ("\"side\": 96", "\"side\": 0", "side 0"),
            ("\"bias\": false", "\"bias\": false, \"more\": 1", "more"),
            ("\"inputs\": [\n        0\n      ]", "\"inputs\": [\n        9\n      ]", "node 9"),
        ] {
            assert!(text.contains(old), "{old} is not in {text}");
            let message = Described::parse(&text.replacen(old, new, 1)).unwrap_err();
            assert!(message.contains(part), "expected {part}, got {message}");
        }
        for end in 0..text.len() - 2 {
            assert!(Described::parse(&text[..end]).is_err());
        }
    }
}
