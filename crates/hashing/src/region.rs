//! Regions: eight places on the globe, and the great-circle distances between them.

use std::{fmt, str::FromStr};

use crate::Error;

/// A part of the world in which a shard can live, as Cloudflare D1 names them.
#[doc(alias = "D1Region")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Region {
    /// Western North America, measured from San Francisco.
    Wnam,
    /// Eastern North America, measured from New York.
    Enam,
    /// Western Europe, measured from London.
    Weur,
    /// Eastern Europe, measured from Berlin.
    Eeur,
    /// Asia and the Pacific, measured from Tokyo.
    Apac,
    /// Oceania, measured from Sydney.
    Oc,
    /// The Middle East, measured from Dubai.
    Me,
    /// Africa, measured from Johannesburg.
    Af,
}

impl Region {
    /// Every region.
    pub const ALL: [Self; 8] = [
        Self::Wnam,
        Self::Enam,
        Self::Weur,
        Self::Eeur,
        Self::Apac,
        Self::Oc,
        Self::Me,
        Self::Af,
    ];

    /// Returns the short name, for example `wnam`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wnam => "wnam",
            Self::Enam => "enam",
            Self::Weur => "weur",
            Self::Eeur => "eeur",
            Self::Apac => "apac",
            Self::Oc => "oc",
            Self::Me => "me",
            Self::Af => "af",
        }
    }

    /// Returns the great-circle distance to the other region, in whole kilometres.
    ///
    /// Whole, so that no platform's trigonometry decides between two shards.
    #[must_use]
    pub fn kilometres_to(self, other: Self) -> u32 {
        self.centre().kilometres_to(other.centre())
    }

    fn centre(self) -> Coordinates {
        let (latitude, longitude) = match self {
            Self::Wnam => (37.7749, -122.4194),
            Self::Enam => (40.7128, -74.0060),
            Self::Weur => (51.5074, -0.1278),
            Self::Eeur => (52.5200, 13.4050),
            Self::Apac => (35.6762, 139.6503),
            Self::Oc => (-33.8688, 151.2093),
            Self::Me => (25.2048, 55.2708),
            Self::Af => (-26.2041, 28.0473),
        };
        Coordinates {
            latitude,
            longitude,
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Region {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|region| region.name() == name)
            .ok_or_else(|| Error::UnknownRegion {
                name: name.to_owned(),
            })
    }
}

/// A place on the globe, in degrees.
#[derive(Debug, Clone, Copy)]
struct Coordinates {
    latitude: f64,
    longitude: f64,
}

impl Coordinates {
    /// The haversine formula on a sphere of the earth's mean radius.
    fn kilometres_to(self, other: Self) -> u32 {
        const RADIUS_KM: f64 = 6371.0088;
        let north = (other.latitude - self.latitude).to_radians() / 2.0;
        let east = (other.longitude - self.longitude).to_radians() / 2.0;
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let haversine = north.sin().powi(2) + cosines * east.sin().powi(2);
        let kilometres = 2.0 * RADIUS_KM * haversine.sqrt().min(1.0).asin();
        kilometres.round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for region in Region::ALL {
            assert_eq!(region.to_string().parse(), Ok(region));
        }
        assert_eq!(
            "mars".parse::<Region>(),
            Err(Error::UnknownRegion {
                name: "mars".to_owned()
            })
        );
    }

    #[test]
    fn distances_are_pinned() {
        let distances = [
            [0, 4129, 8616, 9105, 8275, 11948, 13008, 16964],
            [4129, 0, 5570, 6385, 10852, 15989, 11008, 12840],
            [8616, 5570, 0, 932, 9559, 16994, 5473, 9070],
            [9105, 6385, 932, 0, 8916, 16095, 4624, 8869],
            [8275, 10852, 9559, 8916, 0, 7826, 7930, 13535],
            [11948, 15989, 16994, 16095, 7826, 0, 12050, 11041],
            [13008, 11008, 5473, 4624, 7930, 12050, 0, 6420],
            [16964, 12840, 9070, 8869, 13535, 11041, 6420, 0],
        ];
        for (from, row) in Region::ALL.into_iter().zip(distances) {
            assert_eq!(
                Region::ALL.map(|to| from.kilometres_to(to)),
                row,
                "from {from}"
            );
        }
    }

    #[test]
    fn distances_are_symmetric_and_cross_the_date_line() {
        for (a, b) in Region::ALL
            .into_iter()
            .flat_map(|a| Region::ALL.map(|b| (a, b)))
        {
            assert_eq!(a.kilometres_to(b), b.kilometres_to(a));
            assert_eq!(a.kilometres_to(b) == 0, a == b);
        }
        let tokyo = Region::Wnam.kilometres_to(Region::Apac);
        assert!(
            tokyo < Region::Wnam.kilometres_to(Region::Af),
            "the Pacific is not the long way round"
        );
    }
}
