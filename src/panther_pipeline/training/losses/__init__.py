"""What the backbone is trained to do, one loss per file; `Objective` weighs them."""

from panther_pipeline.training.losses.all_action import draw_following
from panther_pipeline.training.losses.attributes import AttributeHeads
from panther_pipeline.training.losses.contrastive import contrastive_loss, similar_profiles
from panther_pipeline.training.losses.next_event import next_token_loss, next_tuple_loss
from panther_pipeline.training.losses.sampled import draw_candidates, sampled_token_loss
