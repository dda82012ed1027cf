//! Files from elsewhere, damaged at random for a while: readers answer or refuse, and never panic, hang or take the
//! machine's memory. `fuzz/` searches the same doors with cargo-fuzz.

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sketchfind_core::card::{Card, Pooling, is_plain_path};
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::random::Stream;
use sketchfind_models::network::file::Described;
use sketchfind_models::network::{Head, Network};
use sketchfind_models::onnx::fit::{Wishes, fit};
use sketchfind_models::onnx::import::{self, Imported};
use sketchfind_models::onnx::inspect;
use sketchfind_models::weights::{self, Tensor, Weights, tfjs, torch};
use sketchfind_tests::surroundings;
use zip::write::SimpleFileOptions;

use crate::forge;

/// For each reader; they run beside each other.
const FOR: Duration = Duration::from_secs(20);
/// For each of several files of one reader.
const FOR_EACH: Duration = Duration::from_secs(5);
/// A reader that takes longer for a file of kilobytes is searched for no end.
const AT_MOST: Duration = Duration::from_secs(5);

/// Opcodes of pickles, and bytes that lengths and numbers break at.
const INTERESTING: &[u8] =
    b"\x80\x02.(0NKMJGXBC)t]}aesuqrhjcQRb\x85\x86\x87\x88\x8a\x8c\x93\x94\x95\x00\x01\x7f\xff";

/// Bytes with a few changes: one is replaced, put in or left out, a part is repeated, moved or cut off.
fn mutated(stream: &mut Stream, original: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=stream.below(4) {
        let place = stream.below(bytes.len().max(1));
        let byte = if stream.below(2) == 0 {
            INTERESTING[stream.below(INTERESTING.len())]
        } else {
            stream.bits() as u8
        };
        match stream.below(6) {
            0 | 1 if !bytes.is_empty() => bytes[place] = byte,
            2 => bytes.insert(place, byte),
            3 if !bytes.is_empty() => drop(bytes.remove(place)),
            4 if !bytes.is_empty() => {
                let end = (place + 1 + stream.below(64)).min(bytes.len());
                let part = bytes[place..end].to_vec();
                let to = stream.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            _ => bytes.truncate(if stream.below(16) == 0 { place } else { bytes.len() }),
        }
    }
    bytes
}

/// Reads mutations of `original` until the time is over and returns how many were read and how many accepted.
fn search(name: &str, original: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    search_for(FOR, name, original, accepts);
}

fn search_for(time: Duration, name: &str, original: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(original), "{name}: the original is refused");
    let mut stream = Stream::new(7, name, &[]);
    let started = Instant::now();
    let (mut n_read, mut n_accepted) = (0_u64, 0_u64);
    while started.elapsed() < time {
        let bytes = mutated(&mut stream, original);
        let begun = Instant::now();
        n_accepted += u64::from(accepts(&bytes));
        assert!(begun.elapsed() < AT_MOST, "{name}: number {n_read} took {:?}", begun.elapsed());
        n_read += 1;
    }
    // A search of which nothing or everything is accepted looks at one place only.
    assert!(n_read > 1000 && n_accepted > 0 && n_accepted < n_read, "{name}: {n_accepted} of {n_read}");
}

fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(surroundings::checkout().join(path)).unwrap()
}

#[test]
fn legacy_files() {
    if surroundings::is_slow_asked_for() {
        let original = fixture("models/tests/reference/small_legacy.pth");
        search("legacy", &original, |bytes| torch::parse(bytes).is_ok());
    }
}

/// The pickle is mutated and packed again, so that its checksum is right; now and then the archive itself is.
#[test]
fn zip_files() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let original = fixture("models/tests/reference/small_zip.pth");
    let mut archive = zip::ZipArchive::new(Cursor::new(&original)).unwrap();
    let mut records = Vec::new();
    for index in 0..archive.len() {
        let mut record = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        record.read_to_end(&mut bytes).unwrap();
        records.push((record.name().unwrap().into_owned(), bytes));
    }
    let pickle = records.iter().position(|(name, _)| name.ends_with("/data.pkl")).unwrap();
    let packed = |pickle_bytes: &[u8]| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (index, (name, bytes)) in records.iter().enumerate() {
            writer.start_file(name.as_str(), stored).unwrap();
            writer.write_all(if index == pickle { pickle_bytes } else { bytes }).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    search("zip", &records[pickle].1, |bytes| torch::parse(&packed(bytes)).is_ok());
    let mut stream = Stream::new(8, "archive", &[]);
    for _ in 0..20_000 {
        let _ = torch::parse(&mutated(&mut stream, &original));
    }
}

/// Small graphs as exporters write them, and the description that is made of one.
#[test]
fn onnx_files() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    for name in ["half_15", "int8_channel_13", "modern_16", "pixels_18"] {
        let original = fixture(&format!("tests/reference/onnx/{name}.onnx"));
        search_for(FOR_EACH, name, &original, |bytes| {
            import::parse(bytes, "mutated", None).is_ok_and(|imported| {
                imported.weights.check_fit(&imported.network).unwrap();
                true
            })
        });
    }
    for name in ["external", "tokens"] {
        let original = fixture(&format!("tests/reference/foreign/{name}.onnx"));
        search_for(FOR_EACH, name, &original, |bytes| {
            let wishes = Wishes { pooling: Some(Pooling::ClassToken), ..Wishes::default() };
            inspect::parse(bytes).is_ok_and(|file| {
                assert!(file.external.keys().all(|path| is_plain_path(path)));
                fit(&file, &wishes).is_ok() || fit(&file, &Wishes::default()).is_ok()
            })
        });
    }
    let Imported { network, input, .. } =
        import::parse(&fixture("tests/reference/onnx/branches_14.onnx"), "original", None).unwrap();
    let original = Described { network, input }.to_json().unwrap();
    search_for(FOR_EACH, "network.json", original.as_bytes(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        Described::parse(&text).is_ok_and(|described| {
            let _ = described.network.n_parameters();
            assert_eq!(Described::parse(&described.to_json().unwrap()).unwrap(), described);
            true
        })
    });
}

#[test]
fn cards() {
    if surroundings::is_slow_asked_for() {
        let original = fixture("runtime/tests/fixtures/pixels8/card.json");
        search("card", &original, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            Card::parse(&text, Path::new("card.json")).is_ok_and(|card| {
                let written = card.to_json().unwrap();
                assert_eq!(Card::parse(&written, Path::new("card.json")).unwrap(), card);
                true
            })
        });
    }
}

#[test]
fn images() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let limits = DecodeLimits { max_pixels: 1 << 16 };
    for name in ["colour.jpg", "progressive.jpg", "rgb.png", "lossy.webp", "frames.gif", "rgb.bmp"] {
        let path = surroundings::checkout().join("core/tests/reference").join(name);
        let original = std::fs::read(&path).unwrap();
        search_for(FOR_EACH / 2, name, &original, |bytes| Image::decode(bytes, name, limits).is_ok());
    }
}

/// The files of a gallery, with their checksums made right, so that what they say is believed.
#[test]
fn galleries() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("gallery");
    forge::copy_gallery(&surroundings::checkout(), &gallery);
    let read = |name: &str| std::fs::read(gallery.join(name)).unwrap();
    let (manifest, segment, log) = (read(forge::MANIFEST), read(forge::SEGMENT), read(forge::LOG));
    search_for(FOR_EACH, "manifest", &manifest, |bytes| {
        forge::opens_with(&gallery, forge::MANIFEST, &forge::manifest(bytes))
    });
    std::fs::write(gallery.join(forge::MANIFEST), manifest).unwrap();
    search_for(FOR_EACH, "segment", &segment, |bytes| {
        forge::opens_with(&gallery, forge::SEGMENT, &forge::segment(bytes))
    });
    std::fs::write(gallery.join(forge::SEGMENT), segment).unwrap();
    let payloads = forge::payloads(&log);
    search_for(FOR_EACH, "log", payloads[0], |payload| {
        let records: Vec<&[u8]> = std::iter::once(payload).chain(payloads[1..].iter().copied()).collect();
        forge::opens_with(&gallery, forge::LOG, &forge::log(&log, &records, forge::SEQUENCE))
    });
}

/// The header is at the front: mutations of a small file reach it as often as the numbers.
#[test]
fn safetensors_files() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut small = Weights::default().with_metadata("source", "a test");
    small.insert("conv.weight", Tensor::new(vec![2, 3, 1, 1], vec![0.5; 6]).unwrap());
    small.insert("conv.bias", Tensor::new(vec![2], vec![1.0, -1.0]).unwrap());
    small.save(&path).unwrap();
    let network = Network::by_name("resnet18", Head::Embedding).unwrap();
    search("safetensors", &std::fs::read(&path).unwrap(), |bytes| {
        std::fs::write(&path, bytes).unwrap();
        // Recognised by content: mutations become other formats too.
        assert!(weights::import(&path, "resnet18").is_err());
        Weights::load(&path).is_ok_and(|weights| {
            assert!(weights.check_fit(&network).is_err());
            true
        })
    });
}

/// Keras' ResNet50 in small: every tensor of it, with one or a few values.
#[test]
fn tfjs_models() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let mut layers = vec![("conv1".to_owned(), "bn_conv1".to_owned())];
    for (stage, n_blocks) in [(2, 3), (3, 4), (4, 6), (5, 3)] {
        for letter in ('a'..).take(n_blocks) {
            let branches =
                ["2a", "2b", "2c", "1"].into_iter().filter(|&branch| branch != "1" || letter == 'a');
            let part = |kind: &str, branch: &str| format!("{kind}{stage}{letter}_branch{branch}");
            layers.extend(branches.map(|branch| (part("res", branch), part("bn", branch))));
        }
    }
    let mut entries = Vec::new();
    let mut n_values = 0;
    let mut tensor = |name: String, shape: &[usize]| {
        n_values += shape.iter().product::<usize>();
        entries.push(format!(r#"{{"name":"{name}","shape":{shape:?},"dtype":"float32"}}"#));
    };
    for (conv, norm) in &layers {
        tensor(format!("{conv}/kernel"), &[1, 1, 3, 1]);
        tensor(format!("{conv}/bias"), &[1]);
        for part in ["gamma", "beta", "moving_mean", "moving_variance"] {
            tensor(format!("{norm}/{part}"), &[1]);
        }
    }
    tensor("fc1000/kernel".into(), &[2, 3]);
    tensor("fc1000/bias".into(), &[3]);
    let model = format!(r#"{{"weightsManifest":[{{"paths":["a.bin"],"weights":[{}]}}]}}"#, entries.join(","));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.bin"), vec![0; 4 * n_values]).unwrap();
    search("tfjs", model.as_bytes(), |bytes| {
        std::fs::write(folder.path().join(tfjs::MODEL), bytes).unwrap();
        tfjs::read_resnet50(folder.path()).is_ok()
    });
}
