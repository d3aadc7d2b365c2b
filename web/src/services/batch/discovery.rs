//! What the appliance can do, for clients that ask before they offer it to people.

use std::collections::BTreeMap;

use actix_web::web::{self, Data};
use portcullis_speech::transcript::language_name;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BatchContext, document::JobRefusals, error::BatchError};

/// What the speech services can do.
#[derive(Serialize, ToSchema)]
pub(super) struct Features {
    metadata: FeatureNames,
    batch: BatchFeatures,
    realtime: RealtimeFeatures,
}

#[derive(Serialize, ToSchema)]
struct FeatureNames {
    /// By code.
    language_pack_info: BTreeMap<String, LanguageNames>,
}

#[derive(Serialize, ToSchema)]
struct LanguageNames {
    /// In English.
    language_description: String,
    /// Variants of the language; empty, for there are none here.
    locales: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct BatchFeatures {
    transcription: Vec<Transcription>,
    /// Empty: nothing is translated here.
    translation: Vec<String>,
    /// The languages that may be found where a job says `auto`.
    #[serde(rename = "languageId")]
    language_id: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct RealtimeFeatures {
    transcription: Vec<Transcription>,
    /// Empty: nothing is translated here.
    translation: Vec<String>,
}

#[derive(Clone, Serialize, ToSchema)]
struct Transcription {
    version: &'static str,
    /// Their codes; a language may have several: `cmn` is `zh`.
    languages: Vec<String>,
    locales: BTreeMap<String, Vec<String>>,
}

/// `GET /v1/discovery/features`: languages above all.
#[utoipa::path(get, path = "/v1/discovery/features", tag = "Jobs", operation_id = "GetFeatures", security((), ("jobToken" = [])), responses((status = 200, body = Features), JobRefusals))]
pub(super) async fn features(batch: Data<BatchContext>) -> Result<web::Json<Features>, BatchError> {
    let recogniser = batch.recogniser().await?;
    let info = recogniser.info();
    let codes = info.codes();
    let named = codes.iter().map(|code| {
        let language_description = language_name(code).to_owned();
        (code.clone(), LanguageNames { language_description, locales: BTreeMap::new() })
    });
    let transcription = vec![Transcription {
        version: "latest",
        languages: codes.clone(),
        locales: BTreeMap::new(),
    }];
    Ok(web::Json(Features {
        metadata: FeatureNames { language_pack_info: named.collect() },
        batch: BatchFeatures {
            transcription: transcription.clone(),
            translation: Vec::new(),
            language_id: if info.identifies { codes } else { Vec::new() },
        },
        realtime: RealtimeFeatures { transcription, translation: Vec::new() },
    }))
}
