//! How drawings are brought into the frame that the model was trained with, before they are embedded.

use sketchfind_core::Error as CoreError;
use sketchfind_core::frame::{self, PhotoFrame};

/// How drawings are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Framing {
    /// As the model's card says ([`frame::Frame`]); where it says nothing, drawings stay as they are.
    #[default]
    Card,
    /// Drawings stay as they are, blank ones too.
    Off,
    /// They fill this share of a square page, 0.2 to 1, whatever the card says.
    Share(f32),
}

impl Framing {
    /// The share that drawings are to fill, or nothing where they stay as they are.
    ///
    /// # Errors
    /// [`CoreError::OutOfRange`].
    pub fn share(self, card: Option<frame::Frame>) -> sketchfind_core::Result<Option<f32>> {
        match self {
            Framing::Card => Ok(card.map(|frame| frame.sketch)),
            Framing::Off => Ok(None),
            Framing::Share(share) => frame::check_share("frame", share).map(|()| Some(share)),
        }
    }

    /// How a gallery frames the photos that it takes: as its model's card says, not at all, or so that products fill at
    /// least this share.
    ///
    /// # Errors
    /// [`CoreError::OutOfRange`].
    pub fn of_photos(self, card: Option<frame::Frame>) -> sketchfind_core::Result<Option<PhotoFrame>> {
        match self {
            Framing::Card => Ok(card.and_then(|frame| frame.photo)),
            Framing::Off => Ok(None),
            Framing::Share(share) => {
                frame::check_share("frame", share)?;
                Ok(Some(PhotoFrame { typical: share, least: share }))
            }
        }
    }
}

impl std::str::FromStr for Framing {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Framing> {
        let refused = || CoreError::OutOfRange {
            what: "frame",
            value: format!("'{text}'"),
            expected: "'card', 'off' or a share of 0.2 to 1".into(),
        };
        match text {
            "card" => Ok(Framing::Card),
            "off" => Ok(Framing::Off),
            share => {
                let share = share.parse().map_err(|_no_number| refused())?;
                frame::check_share("frame", share).map_err(|_outside| refused())?;
                Ok(Framing::Share(share))
            }
        }
    }
}

impl std::fmt::Display for Framing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Framing::Card => f.write_str("card"),
            Framing::Off => f.write_str("off"),
            Framing::Share(share) => share.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_framings_are_one_to_one() {
        for framing in [Framing::Card, Framing::Off, Framing::Share(0.75)] {
            assert_eq!(framing.to_string().parse::<Framing>().unwrap(), framing);
        }
        for bad in ["", "on", "0", "0.1", "1.1", "NaN", "-1", "CARD"] {
            let message = bad.parse::<Framing>().unwrap_err().to_string();
            assert!(message.contains(&format!("'{bad}'")), "{message}");
        }
    }
}
