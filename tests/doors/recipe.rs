//! What recipes are made of: contrastive training, a head, an average of the weights, frozen stages, augmentation, and
//! sketches that are drawn from photos.

use std::path::Path;
use std::process::Command;

use sketchfind::{Device, verify};
use sketchfind_core::card::Card;
use sketchfind_core::distance::Distance;
use sketchfind_core::image::Image;
use sketchfind_models::weights::Weights;
use sketchfind_tests::programs::{fail, program, run, succeed};
use sketchfind_tests::surroundings;

use crate::training::{CONFIG, Scene, meta_config, resuming_equals_never_having_stopped};

const PARTS: &str = r#"[head]
pooling = { kind = "gem", p = 3.0, learn = true, cells = 1 }
projection = { width = 16, bias = true, start = "orthogonal" }
normalise = true
[augmentation]
rotation = 8.0
scale = 0.1
aspect = 0.1
shift = 0.05
elastic = 0.01
thicker = 0.2
erase = 0.2
grey = 0.2
colour = 0.2
lines = 0.2
[pseudo_sketches]
share = 0.5
[average]
decay = 0.9
[rates]
stages = [0.0, 0.5, 1.0, 1.0, 1.0]
head = 2.0
[loss]
kind = "contrastive"
temperature = 0.1
same_modality = true
"#;

fn with_parts(config: &str) -> String {
    let loss = "[loss]\nkind = \"triplet\"\nmargin = 0.1\nnegatives = \"random\"\n";
    assert!(config.contains(loss));
    config.replace(loss, PARTS)
}

/// A small run on photos alone: one epoch, frozen batch norms.
fn photos_config() -> String {
    with_parts(CONFIG).replace("epochs = 3", "epochs = 1")
}

fn fit_photos(scene: &Scene, photos: &Path, out: &str) -> Command {
    let mut command = program("sketchfind-train");
    command.arg("fit").arg("--photos").arg(photos).arg("--config").arg(scene.path("config.toml"));
    command.arg("--out").arg(scene.path(out));
    command
}

#[test]
fn a_recipe_is_repeatable_and_resumes_with_its_average() {
    let scene = resuming_equals_never_having_stopped(&with_parts(CONFIG));
    let sheet = scene.path("straight/contact-sheet.png");
    let sheet = Image::open(&sheet, sketchfind_core::image::DecodeLimits::default()).unwrap();
    // Four pairs of two images of 32 pixels beside each other, six rows, with gaps of 8.
    assert_eq!((sheet.width(), sheet.height()), (4 * (64 + 8) + 8, 6 * (32 + 8) + 8));
    let model = scene.path("model");
    succeed(program("sketchfind-train").arg("export").arg(scene.path("straight")).arg("--out").arg(&model));
    let card = Card::load_with_model(&model).unwrap();
    assert_eq!((card.embedding_width, card.distance), (16, Distance::Cosine));
    assert!(verify(&model, Device::Cpu).unwrap().passed);
}

#[test]
fn so_it_is_with_the_topology_and_a_teacher_on_it() {
    let teacher = "[teacher]\nnetwork = \"resnet18\"\nweights = \"random\"\ndistillation = \"relations\"\nweight = 0.5\n";
    let scene = resuming_equals_never_having_stopped(&format!("{}{teacher}", with_parts(&meta_config())));
    let steps = std::fs::read_to_string(scene.path("straight/steps.csv")).unwrap();
    assert!(steps.lines().nth(1).unwrap().split(',').all(|value| !value.is_empty()), "{steps}");
}

/// Frozen stages stay as they were, the head begins as it is said to, and what is kept as weights is the average.
#[test]
fn frozen_stages_stay_and_the_average_is_not_the_last_step() {
    let scene = Scene::new(&with_parts(CONFIG));
    succeed(&mut scene.fit("run"));
    let last = |file: &str| {
        let mut folders: Vec<_> =
            std::fs::read_dir(scene.path("run/checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
        folders.sort();
        Weights::load(&folders.last().unwrap().join(file)).unwrap()
    };
    let (weights, state) = (last("weights.safetensors"), last("optimiser.safetensors"));
    let network =
        sketchfind_models::network::Network::by_name("resnet18", sketchfind_models::network::Head::Embedding);
    let initial = Weights::random(&network.unwrap(), 5);
    for name in ["conv1.weight", "bn1.bias", "bn1.running_mean"] {
        assert_eq!(weights.get(name), initial.get(name), "stage 1 is frozen: {name}");
    }
    assert_ne!(weights.get("layer1.0.conv1.weight"), initial.get("layer1.0.conv1.weight"));
    assert_ne!(weights.get("gem.p").unwrap().values, [3.0], "the exponent is learnt");
    // The first trained tensor is layer1's; its last value stands beside the optimiser's state.
    let of_last_step = state.get("00000.last").unwrap();
    assert_eq!(of_last_step.shape, weights.get("layer1.0.conv1.weight").unwrap().shape);
    assert_ne!(of_last_step, weights.get("layer1.0.conv1.weight").unwrap());
}

/// The middle of a landscape is the run's own weights, whatever the directions; the covariance of gradients is in epochs.csv.
#[test]
fn the_landscape_and_the_gradients_of_a_run_are_measured() {
    let config = with_parts(CONFIG).replace("[checkpoint]", "[gradients]\nbatches = 3\n[checkpoint]");
    let scene = Scene::new(&config.replace("epochs = 3", "epochs = 2"));
    succeed(&mut scene.fit("run"));
    let mut epochs = csv::Reader::from_path(scene.path("run/epochs.csv")).unwrap();
    let column = epochs.headers().unwrap().iter().position(|name| name == "gradient_covariance").unwrap();
    let norms: Vec<f64> = epochs.records().map(|row| row.unwrap()[column].parse().unwrap()).collect();
    assert!(norms.len() == 2 && norms.iter().all(|norm| *norm > 0.0), "{norms:?}");
    let rows = |seed: &str| -> Vec<[f64; 3]> {
        let out = scene.path(&format!("landscape-{seed}.csv"));
        let mut landscape = program("sketchfind-train");
        landscape.arg("landscape").arg(scene.path("run")).arg("--out").arg(&out);
        succeed(landscape.args(["--points", "3", "--radius", "0.5", "--batches", "2", "--seed", seed]));
        csv::Reader::from_path(out).unwrap().deserialize().map(|row| row.unwrap()).collect()
    };
    let (one, other) = (rows("1"), rows("2"));
    assert_eq!((one.len(), one[4][0], one[4][1]), (9, 0.0, 0.0));
    assert_eq!(one[4], other[4]);
    assert_ne!(one[0][2], other[0][2]);
    assert_eq!(one[0][..2], [-0.5, -0.5]);
    let mut of_nothing = program("sketchfind-train");
    of_nothing.arg("landscape").arg(scene.path("none")).arg("--out").arg(scene.path("x.csv"));
    fail(&mut of_nothing, 3, &["none"]);
    // A square without a middle, and images that lie elsewhere by now.
    let landscape = |arguments: &[&str]| {
        let mut command = program("sketchfind-train");
        command.arg("landscape").arg(scene.path("run")).arg("--out").arg(scene.path("moved.csv"));
        command.args(["--radius", "0.5", "--batches", "2"]).args(arguments);
        command
    };
    fail(&mut landscape(&["--points", "4"]), 2, &["--points", "odd number from 3 to 201"]);
    std::fs::rename(scene.path("data"), scene.path("moved")).unwrap();
    fail(&mut landscape(&["--points", "3"]), 3, &["data"]);
    succeed(landscape(&["--points", "3", "--data"]).arg(scene.path("moved")));
    assert_eq!(
        std::fs::read(scene.path("moved.csv")).unwrap(),
        std::fs::read(scene.path("landscape-1.csv")).unwrap()
    );
}

#[test]
fn photos_alone_train_a_model_that_verifies() {
    let scene = Scene::new(&photos_config());
    let photos = scene.path("data/photo");
    let said = run(&mut fit_photos(&scene, &photos, "run"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    // 42 photos, a fifth held out.
    assert!(said.err.contains("0 sketches and the lines of 34 photos without one"), "{}", said.err);
    assert!(scene.path("run/contact-sheet.png").is_file());
    for precision in ["fp32", "int8"] {
        let model = scene.path(precision);
        let mut export = program("sketchfind-train");
        export.arg("export").arg(scene.path("run")).args(["--precision", precision]).arg("--out").arg(&model);
        succeed(&mut export);
        assert!(verify(&model, Device::Cpu).unwrap().passed, "{precision}");
    }
    // A shop's photos beside sketches of other things.
    let more = scene.path("more");
    std::fs::create_dir(&more).unwrap();
    for number in 0..6 {
        std::fs::copy(photos.join(format!("{number:03}.png")), more.join(format!("shop-{number}.png")))
            .unwrap();
    }
    let said = run(scene.fit("both").arg("--photos").arg(&more));
    assert_eq!(said.code, Some(0), "{}", said.err);
    // 30 photos with sketches and 6 without, of which a fifth is held out, 7 in all.
    let drawn = said.err.split("the lines of ").nth(1).and_then(|rest| rest.split(' ').next());
    let n_drawn: usize = drawn.unwrap().parse().unwrap();
    assert!((1..=6).contains(&n_drawn) && said.err.contains("29 photos (7 held out)"), "{}", said.err);
}

fn image(side: u32, of: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let pixels = (0..side * side).flat_map(|at| [of(at % side, at / side); 3]).collect();
    Image::new(side, side, pixels).unwrap().to_png().unwrap()
}

/// What cannot be trained on is said before training begins.
#[test]
fn folders_of_photos_that_are_of_no_use_are_refused_by_name() {
    let scene = Scene::new(&photos_config());
    let photos = scene.path("photos");
    std::fs::create_dir(&photos).unwrap();
    fail(&mut fit_photos(&scene, &photos, "none"), 3, &["photos", "holds no image"]);
    fail(&mut fit_photos(&scene, &scene.path("nowhere"), "nowhere-run"), 3, &["nowhere"]);

    let square = |at: u32| move |x: u32, y: u32| if x > at && y > at { 40 } else { 240 };
    std::fs::write(photos.join("a.png"), image(64, square(10))).unwrap();
    fail(&mut fit_photos(&scene, &photos, "one"), 3, &["1 photos are left", "expected at least 2"]);
    std::fs::write(photos.join("flat.png"), image(64, |_, _| 200)).unwrap();
    std::fs::write(photos.join("small.png"), image(20, square(5))).unwrap();
    std::fs::write(photos.join("b.png"), image(64, square(20))).unwrap();
    let config = photos_config().replace("share = 0.2\nevery", "share = 0.0\nevery");
    std::fs::write(scene.path("config.toml"), config).unwrap();
    let said = run(&mut fit_photos(&scene, &photos, "some"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in ["from 2 photos", "'photo/flat.png' is too flat", "'photo/small.png' is too small: 20 x 20"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert!(said.err.contains("the lines of 2 photos"), "{}", said.err);
    std::fs::write(photos.join("broken.png"), "no image").unwrap();
    fail(&mut fit_photos(&scene, &photos, "broken"), 3, &["broken.png", "1 of its images are broken"]);

    // Photos alone without the table: it says what to do.
    std::fs::remove_file(photos.join("broken.png")).unwrap();
    std::fs::write(scene.path("config.toml"), CONFIG).unwrap();
    fail(&mut fit_photos(&scene, &photos, "plain"), 3, &["0 sketches", "[pseudo_sketches]"]);
    let mut neither = program("sketchfind-train");
    neither.arg("fit").arg("--config").arg(scene.path("config.toml")).arg("--out").arg(scene.path("x"));
    fail(&mut neither, 2, &["--data", "--photos"]);
}

/// A self-supervised network comes with its projection, under names of its own: training begins with it.
#[test]
fn a_network_with_a_projection_of_its_own_is_where_training_begins() {
    let scene = Scene::new(CONFIG);
    let network =
        sketchfind_models::network::Network::by_name("resnet18", sketchfind_models::network::Head::Embedding);
    let mut published = Weights::default();
    for (name, tensor) in Weights::random(&network.unwrap(), 5).iter() {
        published.insert(&format!("backbone.{name}"), tensor.clone());
    }
    let matrix: Vec<f32> = (0..6 * 512_u16).map(|n| f32::from(n % 97) / 970.0 - 0.05).collect();
    let matrix = sketchfind_models::weights::Tensor::new(vec![6, 512], matrix).unwrap();
    published.insert("backbone.fc.weight", matrix.clone());
    let file = scene.path("published.safetensors");
    published.save(&file).unwrap();
    let import = |arguments: &[&str]| {
        let mut import = program("sketchfind");
        import.args(["weights", "import", "--source", "made by a test", "--network", "resnet18"]);
        import.args(arguments).arg(&file).arg("--out").arg(scene.path("ours.safetensors"));
        import
    };
    fail(&mut import(&["--projection", "fc"]), 3, &["published.safetensors", "no layer 'fc'", "backbone.fc"]);
    succeed(&mut import(&["--projection", "backbone.fc"]));
    let head = "[head]\npooling = { kind = \"gem\", p = 3.0, learn = false, cells = 1 }\nnormalise = true\n\
                projection = { width = 6, bias = false, start = \"random\" }\n[images]";
    let config = CONFIG
        .replace("weights = \"random\"", "weights = \"ours.safetensors\"")
        .replace("[images]", head)
        .replace("epochs = 3", "epochs = 1");
    std::fs::write(scene.path("config.toml"), config).unwrap();
    succeed(&mut scene.fit("run"));
    let model = scene.path("model");
    let mut export = program("sketchfind-train");
    export.arg("export").arg(scene.path("run")).arg("--checkpoint").arg("initial").arg("--out").arg(&model);
    succeed(&mut export);
    let read = sketchfind_models::onnx::import::read(&model.join("model.onnx"), Some("resnet18")).unwrap();
    assert_eq!(read.weights.get("projection.weight"), Some(&matrix));
}

/// The graph of an ONNX file that is no network of ours is fine-tuned, exported and verified, with a head of ours; a changed
/// description is told.
#[test]
fn a_network_out_of_an_onnx_file_is_trained() {
    let scene = Scene::new(CONFIG);
    let file = surroundings::checkout().join("tests/reference/onnx/residual_norms_13.onnx");
    let mut import = program("sketchfind");
    import.args(["weights", "import"]).arg(file).args(["--source", "made by a script", "--out"]);
    succeed(import.arg(scene.path("theirs.safetensors")));
    let description = scene.path("theirs.network.json");
    assert!(description.is_file());
    let head = "[head]\npooling = { kind = \"average\" }\nnormalise = true\n\
                projection = { width = 6, bias = false, start = \"random\" }\n[images]";
    let config = CONFIG
        .replace("network = \"resnet18\"", "network = \"theirs.network.json\"")
        .replace("weights = \"random\"", "weights = \"theirs.safetensors\"")
        .replace("[images]", head)
        .replace("epochs = 3", "epochs = 1");
    std::fs::write(scene.path("config.toml"), config).unwrap();
    succeed(&mut scene.fit("run"));
    succeed(scene.fit("run").arg("--resume"));
    let model = scene.path("model");
    let export = || {
        let mut export = program("sketchfind-train");
        export.arg("export").arg(scene.path("run")).arg("--out").arg(&model);
        export
    };
    succeed(&mut export());
    let card = Card::load_with_model(&model).unwrap();
    assert_eq!((card.embedding_width, card.distance), (6, Distance::Cosine));
    assert!(!card.to_json().unwrap().contains(&*scene.path("").to_string_lossy()));
    assert!(verify(&model, Device::Cpu).unwrap().passed);
    let changed = std::fs::read_to_string(&description).unwrap().replacen("\"side\": ", "\"side\": 1", 1);
    std::fs::write(&description, changed).unwrap();
    fail(&mut export(), 3, &["theirs.network.json", "has changed"]);
    fail(scene.fit("run").arg("--resume"), 3, &["network: its file"]);
}
