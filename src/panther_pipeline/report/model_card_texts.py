"""What the card says in words, whatever the numbers are."""

TITLES = {
    "results": "Next transaction",
    "next_values": "Next values",
    "fraud": "Fraud",
    "merchant_risk": "Merchant risk",
    "user_label": "Labels of users",
    "training": "Pretraining",
    "tokens": "Tokens",
    "prototypes": "Prototypes",
    "timeline": "One user",
    "users": "Users",
    "data": "Data quality",
    "protocol": "How the numbers were made",
    "use": "Intended use",
    "limits": "What to distrust",
}

PROTOCOL = [
    (
        "Split by time: vocabulary, bins, popularity, transitions and the gradients of the backbone come from "
        "training events (before train_end); which step of the backbone is kept is chosen on validation events; "
        "the fraud head, the trees and their calibration are fitted with labels known before valid_end. The "
        "numbers are over the later test window. Nothing at or after an event is used to predict it."
    ),
    (
        "A forecast of an event is made right after the event before it and reads neither the time nor the "
        "amount of the event to come. A user's first event has no forecast and is left out for every model."
    ),
    (
        "Full ranking: the token that came is ranked among all tokens but [PAD] and [UNK], not among a "
        "sample. A transaction whose own token is [UNK] counts as a miss for every model. Ties go to the "
        "token more popular in training. Where a table says 'tokens new to the user', those the user had before "
        "are no candidates, and a miss when they come."
    ),
    (
        "hr@k: share of transactions whose token is among the first k. ndcg@10: 1 / log2(1 + rank) within the"
        " first ten. mrr: mean of 1 / rank."
    ),
    (
        "popularity: training frequency. repeat_last: the user's last token first. personal_frequency: the "
        "user's own past tokens by frequency, up to the event. markov: what followed the last token in "
        "training. All fall back on popularity."
    ),
    (
        "bits_per_transaction: mean of -log2 p of the whole combination of attribute values that came, whatever kind "
        "of tokenizer the model has; tuple_hr@k: share of transactions whose combination is among the k likeliest. A "
        "token that stands for several combinations is shared out among them as they came in training. A model "
        "with a factored tokenizer scores combinations only and is not in the table of tokens."
    ),
    (
        "Intervals: percentile bootstrap over users (merchant risk: over counterparties), who are drawn with all their "
        "events; differences are paired. In a forecast the baseline of a difference is the one with the highest number "
        "on this test window, which favours it; in every other task the pairs were fixed beforehand. An interval says "
        "nothing of the luck of a single seed: tables name how many there were."
    ),
    "Users without training events are part of the first table and have a table of their own.",
    (
        "Fraud: deviation_surprise and deviation_cosine know no fraud: they rank by how improbable a transaction "
        "was for its user, and how unlike the expected one. trees_features sees point-in-time features, "
        "trees_embeddings the cached embedding, trees_both both, panther_head the fused head. Where they are: "
        "head_features is that head on features alone; head_textcnn and head_attention also read the user's recent "
        "transactions, up to what the cache had seen; head_distilled reads what panther_head reads and was taught "
        "by head_attention; head_tuned and head_lora are panther_head with the backbone tuned for fraud, as a whole "
        "and by low-rank updates. All on the same events, at natural prevalence, with labels only once they were "
        "known. Settings of trees and head, the epoch of the head and the calibration are chosen on the calibration "
        "rows; of the fit rows a sample of the non-frauds may be used."
    ),
    (
        "Labels of users: only what the user did strictly before the label's date is read. features are aggregates of "
        "it and the profile, embeddings the state of the backbone on that date, both the two together; logistic is "
        "ridge regression, trees are boosted. Scales, regularisation and calibration come from the fitted users alone. "
        "out_of_fold: every label is scored by models of other users, drawn at random, some of them with later labels."
    ),
    (
        "Next values: the transactions of the first table, the value of one attribute ranked among the most frequent "
        "ones of training; another value is a miss for every model. panther adds up its forecast of the tokens over "
        "each value, without being trained for it; panther_head is a linear layer on the same state that may copy "
        "what the user had before, by its frequency. The baselines count values as they count tokens above."
    ),
    (
        "Merchant risk: at regular instants every counterparty seen so far is scored for a fraud at it within the "
        "horizon, from windows that end before the instant and labels known by then. Deviations are those of each "
        "customer from their own past, in their own standard deviations, summarised per counterparty by quantiles and "
        "robust statistics. known_frauds and deviation_median are single numbers, the latter has seen no fraud; "
        "trees_activity reads counts, amounts and known frauds, trees_deviations deviations alone, trees_both all."
    ),
    (
        "oracle: on a simulated ledger the probability of fraud by Bayes' rule, from the process itself, the payment "
        "seen. It knows every user's tastes and which earlier payments were fraud. Kinds of fraud are read by the "
        "evaluation alone, never by a model."
    ),
]

INTENDED_USE = [
    ("Ranking transactions for review and forecasting spending behaviour in the ledger the model was trained on."),
    "Not made for decisions about a person without review: credit, closing of accounts, employment.",
    "Not made for another ledger without training and measuring there.",
    (
        "Embeddings are personal data: the same access and deletion rules as for the transactions they were made from. "
        "So is the history of one user on this page (evaluation.timeline.enabled: false leaves it out)."
    ),
]

LIMITS = [
    (
        "A simulated ledger shows that the machinery works and how much of the possible it reaches. It says "
        "nothing about fraud in the world."
    ),
    ("One training seed unless a table says otherwise: intervals cover the choice of users, not the luck of training."),
    "The test window is one period. A season or a change in prices that it does not contain was not tested.",
    "Labels come late and miss fraud that nobody reported: such transactions count as legitimate.",
    ("An interval says how far the number may move with other users of the same kind, not with other kinds of users."),
    "Few frauds make wide intervals: read the interval before the number.",
    (
        "Rows before train_end on which the fraud head is fitted have embeddings and surprises from a backbone "
        "that trained on those very events; test rows do not. The head may trust them more than they deserve "
        "on new events."
    ),
    (
        "Prototype weights show association, not the reason for a score: what attends to a prototype is seen, what the "
        "model then does with it is not."
    ),
    (
        "A motif is more frequent than in shuffled histories of the same users. Shuffling also undoes times of day, "
        "seasons and bursts, so a motif may be two habits of the same hour and need not be cause and effect."
    ),
    (
        "Labels of users: the backbone was pretrained, without labels, on events of the users it is judged on, and "
        "where events are not split by time, up to no particular date. For users whom it has never seen, embeddings "
        "may be worth less."
    ),
    "The user map keeps the share of variance printed at its axes; what looks close may be far apart.",
    (
        "Deleting a user removes the events and embeddings; what the weights learned from them goes only with"
        " a new training."
    ),
    (
        "Merchant risk: deviations before train_end come from a backbone that trained on those very events, those of "
        "the test window do not; models fitted on the former may trust them too much. A counterparty with no earlier "
        "event is not scored."
    ),
]
