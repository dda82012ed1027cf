//! Where a model runs.

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

use crate::native::OrtInfo;
use crate::{Error, Result};

/// Where a model runs.
///
/// ```
/// use sketchfind::Device;
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// assert_eq!("cuda".parse::<Device>()?, Device::Cuda(0));
/// assert_eq!(Device::Cpu.to_string(), "cpu");
/// assert!("gpu".parse::<Device>().is_err());
/// # Ok::<(), sketchfind::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number from 0. Needs the onnxruntime-gpu build of ONNX Runtime.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Device> {
        let number = match text {
            "cpu" => return Ok(Device::Cpu),
            "cuda" => Some(0),
            // ONNX Runtime counts devices in a signed 32-bit number.
            other => other
                .strip_prefix("cuda:")
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|&number| i32::try_from(number).is_ok()),
        };
        number.map(Device::Cuda).ok_or_else(|| {
            Error::Core(sketchfind_core::Error::OutOfRange {
                what: "device",
                value: format!("'{text}'"),
                expected: "'cpu', 'cuda' or 'cuda:N'".into(),
            })
        })
    }
}

impl Device {
    /// The execution providers to register for this device, none for the processor.
    ///
    /// # Errors
    /// [`Error::Device`] where the loaded ONNX Runtime was built without the device.
    pub(crate) fn providers(self, library: &OrtInfo) -> Result<Vec<ExecutionProviderDispatch>> {
        let Device::Cuda(number) = self else {
            return Ok(Vec::new());
        };
        let refused = |reason: String| Error::Device { device: self.to_string(), reason };
        if !ep::CUDA::is_available().map_err(|e| refused(e.to_string()))? {
            return Err(refused(format!(
                "ONNX Runtime {version} at '{path}' is built for the processor only; install onnxruntime-gpu \
                 {version} (PyPI) and set ORT_DYLIB_PATH to its onnxruntime/capi/libonnxruntime.so.{version}",
                version = library.version,
                path = library.path.display(),
            )));
        }
        let number = i32::try_from(number).map_err(|e| refused(format!("its number {number}: {e}")))?;
        let cuda = ep::CUDA::default()
            .with_device_id(number)
            // TF32 keeps 10 bits of a product's mantissa: embeddings would differ from the processor's and
            // from the probe by more than `verify` allows.
            .with_tf32(false)
            // The default tries every algorithm at the first run of each batch size, which takes seconds.
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic);
        Ok(vec![cuda.build().error_on_failure()])
    }
}
