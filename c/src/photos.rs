//! Photos come and go.

use std::ffi::c_char;

use crate::border::{array, check_reserve, give_if_asked, guarded, handle, text, text_or_none, texts};
use crate::embed::matrix;
use crate::picture::{picture, skf_image};
use crate::retriever::skf_retriever;
use crate::status::{Failure, Outcome, skf_status};
use sketchfind::Photo;

/// What a gallery knows of a photo. In what the library gives out, texts live as long as it says there, labels are never null,
/// and a null path or product is none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_photo {
    /// Its id, a text.
    pub id: *const c_char,
    /// Its labels, `n_labels` texts. Null is not given: a photo that replaces another keeps its labels. An array of none, which
    /// is not null, is to have no labels.
    pub labels: *const *const c_char,
    /// The number of labels.
    pub n_labels: usize,
    /// The path of its file as it shall be found, a text. Null is not given: a photo that replaces another keeps its path.
    pub path: *const c_char,
    /// The product that it shows, a text, which several photos may share (`skf_search_options.by_product`). Null is not given: a
    /// photo that replaces another keeps its product. An empty text is to have none.
    pub product: *const c_char,
    /// For members to come: 0.
    pub reserved: [u64; 3],
}

/// Nothing is given.
impl Default for skf_photo {
    fn default() -> skf_photo {
        skf_photo {
            id: std::ptr::null(),
            labels: std::ptr::null(),
            n_labels: 0,
            path: std::ptr::null(),
            product: std::ptr::null(),
            reserved: [0; 3],
        }
    }
}

/// # Safety
/// The photo's pointers are null or as it says.
pub(crate) unsafe fn photo_of(given: &skf_photo) -> Outcome<Photo> {
    check_reserve(&given.reserved, "a photo")?;
    // SAFETY: by this function's contract.
    let (id, path, product) = unsafe {
        (text(given.id, "id")?, text_or_none(given.path, "path")?, text_or_none(given.product, "product")?)
    };
    // SAFETY: by this function's contract.
    let labels = unsafe { texts(given.labels, given.n_labels, "labels") }?;
    let mut photo = Photo::new(id);
    if !given.labels.is_null() {
        photo = photo.with_labels(labels);
    }
    if let Some(path) = path {
        photo = photo.with_source(path);
    }
    if let Some(product) = product {
        photo = photo.with_product(product);
    }
    Ok(photo)
}

/// Adds a photo and its file's bytes. With `replace` it takes the place of the photo that has its id, and keeps its labels,
/// path and product where they are not given. When this returns SKF_OK the photo is on the disk.
///
/// # Safety
/// `retriever` is a live handle, `photo` points to a photo whose members are as it says, `bytes` points to `n_bytes`
/// bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_add(
    retriever: *const skf_retriever,
    photo: *const skf_photo,
    bytes: *const u8,
    n_bytes: usize,
    replace: bool,
) -> skf_status {
    let image = skf_image { bytes, n_bytes, ..skf_image::default() };
    // SAFETY: by this function's contract.
    unsafe { skf_add_image(retriever, photo, &raw const image, replace) }
}

/// Adds a photo and its image; otherwise as skf_add.
///
/// # Safety
/// As of skf_add, with `image` pointing to an image whose bytes are as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_add_image(
    retriever: *const skf_retriever,
    photo: *const skf_photo,
    image: *const skf_image,
    replace: bool,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, photo) = unsafe { (handle(retriever, "retriever")?, handle(photo, "photo")?) };
        // SAFETY: by this function's contract.
        let photo = unsafe { photo_of(photo) }?;
        // SAFETY: by this function's contract.
        let image = unsafe { picture(image, &format!("'{}'", photo.id()), retriever.limits) }?;
        Ok(if replace {
            retriever.retriever.replace(photo, &image)
        } else {
            retriever.retriever.add(photo, &image)
        }?)
    })
}

/// Adds `n` photos with their images, all or none, much faster than one after another. Their pixels are all in memory
/// meanwhile; for many files there is skf_ingest. Otherwise as skf_add; the message of an error names the photo.
///
/// # Safety
/// As of skf_add, with `photos` pointing to `n` photos and `images` to as many images, whose members are as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_add_batch(
    retriever: *const skf_retriever,
    photos: *const skf_photo,
    images: *const skf_image,
    n: usize,
    replace: bool,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, photos, images) = unsafe {
            (handle(retriever, "retriever")?, array(photos, n, "photos")?, array(images, n, "images")?)
        };
        // SAFETY: by this function's contract.
        let photos: Vec<Photo> =
            photos.iter().map(|photo| unsafe { photo_of(photo) }).collect::<Outcome<_>>()?;
        let pictures = photos.iter().zip(images).map(|(photo, image)| {
            let name = format!("'{}'", photo.id());
            // SAFETY: by this function's contract.
            unsafe { picture(image, &name, retriever.limits) }.map_err(|Failure(status, words)| {
                let words = if words.contains(&name) { words } else { format!("{name}: {words}") };
                Failure(status, words)
            })
        });
        let pictures = pictures.collect::<Outcome<Vec<_>>>()?;
        Ok(if replace {
            let retriever = &retriever.retriever;
            retriever.gallery().replace(photos, retriever.embed_photos(&pictures)?)
        } else {
            retriever.retriever.add_batch(photos, &pictures)
        }?)
    })
}

/// Adds `n` photos whose embeddings are ready, `n` times `width` numbers in `embeddings`, one photo's after another's, all or none.
/// `width` is what skf_width says. Where the gallery has a model it has made them, of photos as the gallery frames them; nobody
/// can check that. With `replace` they take the places of those that have their ids, and keep labels, paths and products that
/// are not given. When this returns SKF_OK they are on the disk.
///
/// # Safety
/// `retriever` is a live handle, `photos` points to `n` photos whose members are as they say, `embeddings` to `n` times `width`
/// numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_add_embeddings(
    retriever: *const skf_retriever,
    photos: *const skf_photo,
    embeddings: *const f32,
    n: usize,
    width: usize,
    replace: bool,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, photos) = unsafe { (handle(retriever, "retriever")?, array(photos, n, "photos")?) };
        // SAFETY: by this function's contract.
        let embeddings = unsafe { matrix(embeddings, n, width, retriever) }?.to_vec();
        // SAFETY: by this function's contract.
        let photos: Vec<Photo> =
            photos.iter().map(|photo| unsafe { photo_of(photo) }).collect::<Outcome<_>>()?;
        let gallery = retriever.retriever.gallery();
        Ok(if replace { gallery.replace(photos, embeddings) } else { gallery.add(photos, embeddings) }?)
    })
}

/// Removes the photos of `n_ids` ids in one step and writes how many were there to `n_removed`, which may be null.
///
/// # Safety
/// `retriever` is a live handle, `ids` points to `n_ids` texts, `n_removed` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_remove(
    retriever: *const skf_retriever,
    ids: *const *const c_char,
    n_ids: usize,
    n_removed: *mut usize,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, ids) = unsafe { (handle(retriever, "retriever")?, texts(ids, n_ids, "ids")?) };
        let n = retriever.retriever.remove(&ids)?;
        // SAFETY: by this function's contract.
        unsafe { give_if_asked(n_removed, n) }
    })
}
