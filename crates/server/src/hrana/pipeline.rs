//! Pipelines: requests of one stream, which are all carried out.

use super::{
    Shared,
    baton::Baton,
    error::{HttpError, StatementError},
    reply::{PipelineReply, Room, StreamResponse, StreamResult},
    request::{PipelineBody, StreamRequest},
    stream::Stream,
};
use crate::gateway::Client;

impl Shared {
    /// Carries out a pipeline on the stream of a baton, or on one that begins with it.
    pub(super) async fn pipeline(
        &self,
        baton: Option<&Baton>,
        body: PipelineBody,
    ) -> Result<PipelineReply<'_>, HttpError> {
        let (id, mut stream) = self.take(baton)?;
        let mut results = Vec::with_capacity(body.requests.len());
        let mut room = Room::default();
        for request in body.requests {
            let answered = stream.answer(&self.client, request, &mut room).await;
            results.push(match answered {
                Ok(response) => StreamResult::Ok { response },
                Err(error) => StreamResult::Error { error },
            });
        }
        Ok(PipelineReply {
            baton: self.give_back(id, stream),
            base_url: self.settings.base_url.as_deref(),
            results,
        })
    }
}

impl Stream {
    async fn answer(
        &mut self,
        client: &Client,
        request: StreamRequest,
        room: &mut Room,
    ) -> Result<StreamResponse, StatementError> {
        if self.is_closed() {
            return Err(StatementError::new(
                "STREAM_CLOSED",
                "the stream was closed",
            ));
        }
        Ok(match request {
            StreamRequest::Execute { stmt } => StreamResponse::Execute {
                result: self.execute(client, stmt, false, room).await?,
            },
            StreamRequest::Batch { batch } => StreamResponse::Batch {
                result: self.batch(client, &batch, room).await?,
            },
            StreamRequest::Sequence { text } => {
                self.sequence(client, &text).await?;
                StreamResponse::Sequence
            }
            StreamRequest::Describe { text } => StreamResponse::Describe {
                result: self.describe(client, &text).await?.into(),
            },
            StreamRequest::StoreSql { sql_id, sql } => {
                self.texts.store(sql_id, sql)?;
                StreamResponse::StoreSql
            }
            StreamRequest::CloseSql { sql_id } => {
                self.texts.close(sql_id);
                StreamResponse::CloseSql
            }
            StreamRequest::GetAutocommit => StreamResponse::GetAutocommit {
                is_autocommit: !self.has_transaction(),
            },
            StreamRequest::Close => {
                self.close();
                StreamResponse::Close
            }
        })
    }
}
