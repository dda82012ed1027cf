//! The library that the process has loaded.

use std::path::Path;

use sketchfind::{Device, Embedder, EmbedderOptions, Error, native};

use crate::{assert_says, fixture};

#[test]
fn loading_twice_is_loading_once() {
    let first = native::init(None).unwrap();
    assert!(std::ptr::eq(first, native::init(None).unwrap()));
    // By its own path too; by another not.
    assert!(std::ptr::eq(first, native::init(Some(&first.path)).unwrap()));
    let error = native::init(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err();
    assert!(matches!(error, Error::OrtAlreadyLoaded { .. }), "{error}");
    assert_says(&error, &[&first.path.display().to_string(), "/nowhere/libonnxruntime.so"]);
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_and_never_the_processor() {
    let result = Embedder::open(fixture("mean8"), EmbedderOptions::on(Device::Cuda(99)));
    // On a machine with onnxruntime-gpu there is still no hundredth GPU.
    let error = result.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    assert_says(error, &["cuda:99"]);
}

#[test]
fn a_processor_build_says_what_to_install_for_cuda() {
    let library = native::init(None).unwrap();
    let error = match Embedder::open(fixture("mean8"), EmbedderOptions::on(Device::Cuda(0))) {
        // A machine with a GPU and onnxruntime-gpu.
        Ok(_) => return,
        Err(error) => error,
    };
    assert_says(error, &["cuda:0", &library.version]);
}

#[test]
fn a_retriever_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Embedder>();
    is_send::<sketchfind::Retriever>();
}

#[test]
fn devices_are_read_as_written() {
    for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(12)] {
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
    }
    for text in
        ["", "CPU", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:4294967296", "cuda:3000000000", "gpu"]
    {
        assert_says(text.parse::<Device>().unwrap_err(), &[&format!("'{text}'"), "'cuda:N'"]);
    }
}
