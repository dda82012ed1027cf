//! The C interface as a program might call it: any calls in any order with any values that its rules allow, null pointers,
//! texts that are no UTF-8 and damaged images among them. Whatever comes, a call returns a code, and what does not return
//! SKF_OK leaves a message.
//!
//! `ORT_DYLIB_PATH` names the ONNX Runtime. It is not built for the sanitiser, so leaks are not looked for:
//! `ASAN_OPTIONS=detect_leaks=0 cargo +nightly fuzz run --features fuzzing capi`.

#![no_main]
#![allow(unsafe_code, reason = "a caller in C has nothing else")]

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use sketchfind_c::*;

#[path = "../../tests/doors/forge.rs"]
#[allow(dead_code)]
mod forge;

/// The path of a gallery of this process.
static GALLERY: LazyLock<CString> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let path = root.join(format!("sketchfind-fuzz-capi-{}", std::process::id()));
    forge::copy_gallery(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), &path);
    CString::new(path.to_str().expect("the path is UTF-8")).expect("the path has no zero byte")
});

/// Values out of bytes.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        self.some(1).first().copied().unwrap_or(0)
    }

    fn some(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Up to 255 bytes.
    fn few(&mut self) -> &'a [u8] {
        let n = self.byte();
        self.some(usize::from(n))
    }

    /// Texts, some of them null.
    fn texts(&mut self) -> Vec<Option<CString>> {
        let n = self.byte() % 4;
        (0..n).map(|_| CString::new(self.some(3)).ok()).collect()
    }

    /// Small numbers, some of them none.
    fn number(&mut self) -> f64 {
        match self.byte() {
            255 => f64::NAN,
            254 => f64::INFINITY,
            number => f64::from(number) - 20.0,
        }
    }

    /// A file or pixels, mostly of a size that they do not have.
    fn image(&mut self) -> skf_image {
        let (format, [width, height, stride]) =
            (u32::from(self.byte() % 5), [0; 3].map(|_: u32| u32::from(self.byte() % 9)));
        let bytes = self.few();
        skf_image {
            bytes: bytes.as_ptr(),
            n_bytes: bytes.len(),
            format,
            width,
            height,
            stride: stride as usize,
            ..skf_image::default()
        }
    }

    /// Points, and lengths of polylines that may have others.
    fn drawing(&mut self) -> (Vec<[f64; 2]>, Vec<usize>) {
        let n = self.byte() % 9;
        let points = (0..n).map(|_| [self.number(), self.number()]).collect();
        let n = self.byte() % 4;
        (points, (0..n).map(|_| usize::from(self.byte() % 6)).collect())
    }
}

fn strokes(bytes: &mut Bytes<'_>, points: &[[f64; 2]], lengths: &[usize]) -> skf_strokes {
    skf_strokes {
        width: bytes.number(),
        height: bytes.number(),
        points: points.as_ptr().cast(),
        n_points: points.len(),
        lengths: lengths.as_ptr(),
        n_polylines: lengths.len(),
        ..skf_strokes::default()
    }
}

fn pointers(texts: &[Option<CString>]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ref().map_or(null(), |text| text.as_ptr())).collect()
}

fn checked(status: skf_status) {
    // SAFETY: the message lives until this thread's next call.
    let message = unsafe { CStr::from_ptr(skf_last_error()) }.to_bytes();
    assert_eq!(status == skf_status::SKF_OK, message.is_empty());
    assert!(status != skf_status::SKF_INTERNAL, "{}", String::from_utf8_lossy(message));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Bytes(bytes);
    let options = skf_options {
        writable: bytes.byte() % 2 == 0,
        sessions: u32::from(bytes.byte() % 3),
        threads: 1,
        max_pixels: 1 << 12,
        // What the card says, a share, off.
        frame: [0.0, 0.5, -1.0][usize::from(bytes.byte() % 3)],
        ..skf_options::default()
    };
    let (mut retriever, filter): (*mut skf_retriever, _) = (null_mut(), skf_filter_new());
    let mut answers: Vec<*mut skf_matches> = Vec::new();
    // SAFETY: pointers are null or of live values of the sizes that are said; each handle is freed once.
    unsafe {
        checked(skf_open(GALLERY.as_ptr(), &options, &mut retriever));
        while !bytes.0.is_empty() {
            let mut answer = null_mut();
            let no_filter = bytes.byte();
            let of = if no_filter % 2 == 0 { null() } else { filter.cast_const() };
            match bytes.byte() % 19 {
                0 => {
                    let image = bytes.few();
                    let k = usize::from(bytes.byte());
                    checked(skf_query(retriever, image.as_ptr(), image.len(), k, of, &mut answer));
                }
                1 => {
                    let n = usize::from(bytes.byte() % 5);
                    let values: Vec<f32> = bytes
                        .some(4 * n)
                        .chunks_exact(4)
                        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                        .collect();
                    checked(skf_query_embedding(
                        retriever,
                        values.as_ptr(),
                        values.len(),
                        n,
                        of,
                        &mut answer,
                    ));
                }
                2 => {
                    let (texts, id, image) = (bytes.texts(), CString::new(bytes.some(3)).ok(), bytes.few());
                    let labels = pointers(&texts);
                    let photo = skf_photo {
                        id: id.as_ref().map_or(null(), |id| id.as_ptr()),
                        labels: labels.as_ptr(),
                        n_labels: labels.len(),
                        path: texts.first().and_then(Option::as_ref).map_or(null(), |path| path.as_ptr()),
                        ..skf_photo::default()
                    };
                    let replace = bytes.byte() % 2 == 0;
                    checked(skf_add(retriever, &photo, image.as_ptr(), image.len(), replace));
                }
                3 => {
                    let texts = bytes.texts();
                    let (ids, mut n) = (pointers(&texts), 0);
                    checked(skf_remove(retriever, ids.as_ptr(), ids.len(), &mut n));
                }
                kind @ (4..=7 | 17) => {
                    let texts = bytes.texts();
                    let labels = pointers(&texts);
                    let narrow = match kind {
                        4 => skf_filter_only_ids,
                        5 => skf_filter_any_label,
                        6 => skf_filter_every_label,
                        17 => skf_filter_without_ids,
                        _ => skf_filter_without_label,
                    };
                    checked(narrow(filter, labels.as_ptr(), labels.len()));
                }
                8 => {
                    let (image, mut out) = (bytes.few(), [0.0; 4]);
                    let n = usize::from(bytes.byte() % 5);
                    checked(skf_embed(retriever, image.as_ptr(), image.len(), out.as_mut_ptr(), n));
                }
                9 if bytes.byte() % 2 == 0 => checked(skf_refresh(retriever, null_mut())),
                9 => checked(skf_compact(retriever)),
                10 => {
                    let (path, model) = (CString::new(bytes.some(3)).ok(), null());
                    let path = path.as_ref().map_or(null(), |path| path.as_ptr());
                    checked(skf_create(path, model, u32::from(bytes.byte())));
                }
                11 => {
                    let image = bytes.image();
                    checked(skf_query_image(retriever, &image, usize::from(bytes.byte()), of, &mut answer));
                }
                12 => {
                    let (points, lengths) = bytes.drawing();
                    let strokes = strokes(&mut bytes, &points, &lengths);
                    checked(skf_query_strokes(
                        retriever,
                        &strokes,
                        usize::from(bytes.byte()),
                        of,
                        &mut answer,
                    ));
                }
                13 => {
                    let (points, lengths) = bytes.drawing();
                    let (image, strokes) = (bytes.image(), strokes(&mut bytes, &points, &lengths));
                    let mut sketch = || skf_sketch {
                        image: if bytes.byte() % 2 == 0 { &image } else { null() },
                        strokes: if bytes.byte() % 2 == 0 { &strokes } else { null() },
                        ..skf_sketch::default()
                    };
                    let sketches = [sketch(), sketch()];
                    let mut both = [null_mut(); 2];
                    checked(skf_query_many(retriever, sketches.as_ptr(), 2, 3, of, both.as_mut_ptr()));
                    answers.extend(both.into_iter().filter(|answer| !answer.is_null()));
                    let mut out = [0.0; 3];
                    checked(skf_embed_sketch(retriever, &sketches[0], out.as_mut_ptr(), 3));
                }
                14 => {
                    let ids = [CString::new(bytes.some(3)).ok(), CString::new(bytes.some(3)).ok()];
                    let photos = pointers(&ids)
                        .iter()
                        .map(|&id| skf_photo { id, ..skf_photo::default() })
                        .collect::<Vec<_>>();
                    let images = [bytes.image(), bytes.image()];
                    let replace = bytes.byte() % 2 == 0;
                    checked(skf_add_batch(retriever, photos.as_ptr(), images.as_ptr(), 2, replace));
                }
                15 => {
                    let (mut list, id) = (null_mut(), CString::new(bytes.some(3)).ok());
                    let id = id.as_ref().map_or(null(), |id| id.as_ptr());
                    if bytes.byte() % 2 == 0 {
                        checked(skf_list_all(retriever, of, &mut list));
                    } else {
                        checked(skf_get(retriever, id, &mut list));
                    }
                    while let Some(photo) = skf_list_next(list).as_ref() {
                        assert!(!CStr::from_ptr(photo.id).to_bytes().is_empty() && !photo.labels.is_null());
                        assert!((*skf_list_embedding(list)).is_finite());
                    }
                    skf_list_free(list);
                }
                16 => {
                    let (id, file) = (CString::new(bytes.some(3)).ok(), CString::new(bytes.few()).ok());
                    let [id, file] =
                        [id, file].map(|text| text.map_or(null(), |text| text.into_raw().cast_const()));
                    let photo = skf_photo { id, ..skf_photo::default() };
                    let file_of = skf_photo_file { photo, file, reserved: [0; 4] };
                    let options = skf_ingest_options {
                        leave_out_broken: bytes.byte() % 2 == 0,
                        replace_other_sources: bytes.byte() % 2 == 0,
                        ..skf_ingest_options::default()
                    };
                    let mut ingested = null_mut();
                    checked(skf_ingest(retriever, &file_of, 1, &options, &mut ingested));
                    skf_ingested_free(ingested);
                    for text in [id, file].into_iter().filter(|text| !text.is_null()) {
                        drop(CString::from_raw(text.cast_mut()));
                    }
                }
                _ => checked(skf_query(retriever, null(), 0, 1, of, null_mut())),
            }
            if !answer.is_null() {
                answers.push(answer);
            }
        }
        for &answer in &answers {
            for place in 0..=skf_matches_len(answer) {
                if let Some(found) = skf_matches_at(answer, place).as_ref() {
                    assert!(!CStr::from_ptr(found.id).to_bytes().is_empty() && found.distance.is_finite());
                }
            }
            skf_matches_free(answer);
        }
        assert!(skf_len(retriever) < 1 << 20 && skf_width(retriever) == 3);
        skf_filter_free(filter);
        skf_close(retriever);
    }
});
