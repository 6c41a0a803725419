//! People sign in at an OpenID Connect issuer, one per audience, and come with its access tokens. [`token`] says what a token must
//! be, [`jwks`] which keys there are and [`code`] how a browser signs in, all three pure; [`issuer`] asks the issuer, rarely and within
//! bounds.

pub mod code;
pub mod dev;
pub mod issuer;
pub mod jwks;
pub mod token;

use std::sync::Arc;

use warp_model::Mono;
use warp_model::Wall;

use crate::audience::Audience;
use issuer::{Away, Issuer, IssuerSettings};
use token::{Claims, Refused};

/// The issuers of the two audiences. They may be the same one; the audience in the tokens never is.
#[derive(Default)]
pub struct Issuers {
    customer: Option<Arc<Issuer>>,
    operator: Option<Arc<Issuer>>,
}

/// Why a token cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is not one of ours.
    Refused(Refused),
    /// Its issuer does not answer, and nothing is known of its keys.
    Away(Away),
}

impl Issuers {
    /// With the settings of each audience; an audience without settings takes no tokens.
    pub fn new(customer: Option<IssuerSettings>, operator: Option<IssuerSettings>) -> Self {
        let made = |s: Option<IssuerSettings>| s.map(|s| Arc::new(Issuer::new(s)));
        Self { customer: made(customer), operator: made(operator) }
    }

    /// The issuer whose tokens open the API of this audience.
    pub fn of(&self, audience: Audience) -> Option<&Arc<Issuer>> {
        match audience {
            Audience::Customer => self.customer.as_ref(),
            Audience::Operator => self.operator.as_ref(),
        }
    }
}

/// What a token says, when it is one of this issuer for its audience, and in force.
pub async fn believe(issuer: &Arc<Issuer>, token: &str, now: Wall, mono: Mono) -> Result<Claims, Doubt> {
    believe_for(issuer, token, &issuer.settings().audience, now, mono).await
}

/// The same of a token for another audience: an ID token is for our client.
pub async fn believe_for(
    issuer: &Arc<Issuer>,
    token: &str,
    audience: &str,
    now: Wall,
    mono: Mono,
) -> Result<Claims, Doubt> {
    let kid = token::key_id(token).map_err(Doubt::Refused)?;
    let key = issuer.key(&kid, mono).await.map_err(Doubt::Away)?;
    let key = key.ok_or(Doubt::Refused(Refused::UnknownKey))?;
    token::verify(token, &key, &issuer.settings().issuer, audience, now).map_err(Doubt::Refused)
}
