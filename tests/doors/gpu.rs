//! Packs for a machine with a GPU: made, and run to the end on the processor; and what each part says where there is no GPU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sketchfind_tests::programs::{Said, as_a_person_has_it, program, run, succeed};
use sketchfind_tests::{surroundings, toy};

/// A pack of programs that are built already and of a data set that is drawn on the spot.
fn packed(kind: &str, place: &Path) -> PathBuf {
    let (data, pack) = (place.join("data"), place.join("a pack"));
    toy::dataset(&data, 8, 4, 1).unwrap();
    let built = Path::new(program("sketchfind").get_program()).parent().unwrap().to_owned();
    let mut xtask = Command::new(program("xtask").get_program());
    xtask
        .args(["gpu", "pack", kind, "--out"])
        .arg(&pack)
        .arg("--data")
        .arg(&data)
        .arg("--programs")
        .arg(built);
    let said = run(xtask.current_dir(surroundings::checkout()));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out.trim_end(), pack.display().to_string());
    // What a rehearsal does without is said. Few have provisioned the CUDA execution provider.
    let says = |words: &str| said.err.contains(words);
    match kind {
        "inference" => assert!(
            says("left out: the CUDA execution provider") != says("for sm_90 are packed"),
            "{}",
            said.err
        ),
        _ => assert!(says("left out: ResNet50's weights"), "{}", said.err),
    }
    pack
}

/// Runs a pack from some other folder, as a person does who has no more than the pack.
fn run_pack(pack: &Path, out: &Path, device: &str) -> Said {
    let mut command = Command::new("sh");
    as_a_person_has_it(&mut command).arg(pack.join("run.sh")).args(["--sizes", "tiny", "--device", device]);
    run(command.env("OUT", out).current_dir(out.parent().unwrap()))
}

/// The rows of a CSV file.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader =
        csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// What became of each part, in order: its name, its status and what was said.
fn parts(out: &Path) -> Vec<(String, String, String)> {
    let of =
        |row: &BTreeMap<String, String>| (row["part"].clone(), row["status"].clone(), row["message"].clone());
    rows(&out.join("parts.csv")).iter().map(of).collect()
}

/// Whether the Python that runs packs has PyTorch; where it has none, peers must say so in their one line.
fn has_pytorch() -> bool {
    let mut python = Command::new("python3");
    let modules = "import numpy, PIL, safetensors, torch, torchvision";
    run(as_a_person_has_it(&mut python).args(["-c", modules])).code == Some(0)
}

/// That every part is done but for peers where there is no PyTorch.
fn all_is_done(out: &Path, said: &Said) {
    let has_pytorch = has_pytorch();
    for (part, status, message) in parts(out) {
        if part.ends_with("-pytorch") && !has_pytorch {
            assert!(status == "failed" && message.starts_with("no PyTorch: "), "{part}: {status}, {message}");
        } else {
            assert_eq!(status, "done", "{part}: {message}\n{}", said.err);
        }
    }
    assert_eq!(said.code, Some(i32::from(!has_pytorch)), "{}", said.err);
    let n_files = std::fs::read_dir(out).unwrap().count();
    assert!(n_files <= 8, "{n_files} files");
}

/// That every part fails where there is no GPU, with one line that holds one of these words.
fn all_say_why(out: &Path, said: &Said, words: &[&str]) {
    assert_eq!(said.code, Some(1), "{}", said.err);
    for (part, status, message) in parts(out) {
        assert_eq!(status, "failed", "{part}: {message}");
        assert!(words.iter().any(|word| message.contains(word)), "{part}: {message}");
        assert!(!message.contains('\n') && !message.contains("Traceback"), "{part}: {message}");
    }
}

/// Whether this machine has a GPU, so that nothing fails for the lack of it.
fn has_gpu() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

#[test]
fn the_pack_for_inference_runs_to_its_end() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (pack, out) = (packed("inference", place.path()), place.path().join("results"));
    let said = run_pack(&pack, &out, "cpu");
    all_is_done(&out, &said);
    let names: Vec<String> = parts(&out).into_iter().map(|(part, ..)| part).collect();
    assert_eq!(names, ["verify", "providers", "embedding", "embedding-pytorch"]);
    let verified = rows(&out.join("verify.csv"));
    let models: Vec<_> =
        verified.iter().map(|row| (row["model"].as_str(), row["precision"].as_str())).collect();
    assert_eq!(models, [("mobilenet_v2", "fp16"), ("resnet50", "fp16"), ("resnet50", "fp32")]);
    for row in &verified {
        let number = |name: &str| row[name].parse::<f64>().unwrap();
        assert!(row["passed"] == "True" && number("relative_difference") <= number("allowed"), "{row:?}");
    }
    let providers = rows(&out.join("providers.csv"));
    assert!(providers.iter().any(|row| row["model"] == "resnet50" && row["operation"].contains("Conv")));
    assert!(providers.iter().all(|row| row["provider"] == "CPUExecutionProvider"));
    let speeds = rows(&out.join("embedding.csv"));
    for batch in ["1", "2"] {
        let row =
            speeds.iter().find(|row| row["implementation"] == "sketchfind" && row["batch"] == batch).unwrap();
        let number = |name: &str| row[name].parse::<f64>().unwrap();
        assert!(number("images_per_sec_memory") > 0.0 && number("images_per_sec_files") > 0.0, "{row:?}");
        assert!((0.0..=1.0).contains(&number("waiting_share")), "{row:?}");
    }
    if !has_gpu() {
        let said = run_pack(&pack, &out, "cuda");
        // Without the provider, with it and without a driver, peers with and without PyTorch.
        let words = ["onnxruntime-gpu", "cannot open shared object file", "no CUDA device", "no PyTorch"];
        all_say_why(&out, &said, &words);
        assert!(!out.join("verify.csv").exists(), "results of an earlier run were left");
    }
}

#[test]
fn the_pack_for_training_runs_to_its_end() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (pack, out) = (packed("training", place.path()), place.path().join("results"));
    let said = run_pack(&pack, &out, "cpu");
    all_is_done(&out, &said);
    let names: Vec<String> = parts(&out).into_iter().map(|(part, ..)| part).collect();
    assert_eq!(names, ["steps", "steps-pytorch", "study"]);
    let steps = rows(&out.join("steps.csv"));
    let ours = steps.iter().filter(|row| row["implementation"] == "sketchfind");
    let cases: Vec<_> = ours.clone().map(|row| (row["method"].as_str(), row["precision"].as_str())).collect();
    assert_eq!(cases, [("meta", "fp32"), ("contrastive", "bf16")]);
    assert!(ours.clone().all(|row| row["median_secs"].parse::<f64>().unwrap() > 0.0));
    let studied = rows(&out.join("study-runs.csv"));
    let methods: Vec<&str> = studied.iter().map(|row| row["method"].as_str()).collect();
    assert!(methods.contains(&"baseline") && methods.contains(&"meta"), "{methods:?}");
    if !has_gpu() {
        let said = run_pack(&pack, &out, "cuda");
        all_say_why(&out, &said, &["libtorch_cuda.so", "no CUDA device", "no PyTorch"]);
    }
}

#[test]
fn a_part_that_is_none_is_refused() {
    let script = surroundings::checkout().join("xtask/gpu/run.py");
    // Beside the parts of inference, which the checkout has both.
    let place = tempfile::tempdir().unwrap();
    let mut python = Command::new("python3");
    as_a_person_has_it(&mut python)
        .arg("-B")
        .arg(&script)
        .args(["--part", "speed", "--out"])
        .arg(place.path());
    let said = run(&mut python);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("there is no part 'speed', expected one of verify, providers"), "{}", said.err);
    let mut python = Command::new("python3");
    as_a_person_has_it(&mut python).arg("-B").arg(&script).args(["--data", "/nowhere"]);
    assert!(run(&mut python).err.contains("--data: '/nowhere' is not there"));
    let help = succeed(Command::new("python3").arg("-B").arg(&script).arg("--help"));
    assert!(help.contains("--device {cuda,cpu}"), "{help}");
}
