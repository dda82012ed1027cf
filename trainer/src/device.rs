//! The device that training runs on.

use crate::{Error, Result};

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingDevice {
    /// The processor. Repeatable bit for bit.
    Cpu,
    /// The first CUDA device. Needs a CUDA build of libtorch of the version that this program was built for.
    Cuda,
}

impl TrainingDevice {
    /// Makes the device ready and returns it as libtorch names it. Must come before the first tensor.
    ///
    /// The program links libtorch's CPU part only, which every build of that version has. For CUDA the machine's own
    /// `libtorch_cuda.so` is loaded at run time: it registers its kernels with the CPU part on loading.
    ///
    /// # Errors
    /// [`Error::Device`] where the library or a device is missing.
    pub fn open(self) -> Result<tch::Device> {
        match self {
            TrainingDevice::Cpu => Ok(tch::Device::Cpu),
            TrainingDevice::Cuda => {
                load_cuda_library()?;
                if !tch::Cuda::is_available() {
                    return Err(Error::Device {
                        device: "cuda",
                        reason:
                            "libtorch_cuda.so was loaded, but finds no device; nvidia-smi tells whether the \
                                 driver sees one"
                                .into(),
                    });
                }
                Ok(tch::Device::Cuda(0))
            }
        }
    }
}

/// Loads `libtorch_cuda.so` for the rest of the process.
#[allow(unsafe_code)]
fn load_cuda_library() -> Result<()> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    const NAME: &str = "libtorch_cuda.so";
    // SAFETY: loading runs the library's initialisers, which register kernels and are meant to run in any process
    // that has libtorch_cpu.so; it is never unloaded.
    let library = unsafe { Library::open(Some(NAME), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(Error::Device {
            device: "cuda",
            reason: format!(
                "{NAME} cannot be loaded ({}); start this program with LD_LIBRARY_PATH naming the lib folder of \
                 a CUDA build of libtorch 2.11 or of PyTorch 2.11 (torch/lib), and the nvidia packages' lib folders",
                sketchfind_core::error::explain(&error)
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_cuda_says_what_is_missing() {
        assert!(matches!(TrainingDevice::Cpu.open(), Ok(tch::Device::Cpu)));
        match TrainingDevice::Cuda.open() {
            Ok(device) => assert!(device.is_cuda()),
            Err(error) => assert!(error.to_string().contains("libtorch"), "{error}"),
        }
    }
}
