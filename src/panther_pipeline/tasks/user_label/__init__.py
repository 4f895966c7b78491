"""A label of a user as of a date, such as the default of a loan, from what the user did strictly before that date.

Behind it are aggregates that a credit analyst would use (`aggregates`), the user's profile, and what the pretrained
backbone knew on that date (`states`); a ridge logistic regression and boosted trees are fitted on each and on both
(`models`, `fit`), on the same rows (`protocol`).

What the numbers do not know:
- The backbone was pretrained, without any label, on events of the very users that are judged here. With `splits` by
  time, a label before `train_end` is judged with a backbone that has seen what others, and the user, did later. With
  leave_last_share or leave_last_out its training window is not an instant at all. The aggregates have no such
  advantage: a difference in favour of the embeddings is for users whom the backbone knows.
- Repeated folds draw users at random, so that a model may be fitted on labels that are later than those it judges.
  What is read of a user always ends at the label's own date. Only the `time` protocol judges a later time than it was
  fitted on.
- A profile has no dates: it is taken as known on every date (docs/data_contract.md).
"""
