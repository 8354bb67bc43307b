"""Which statement of the page goes to which question of Opinion 28/2024, and why it is no statement of compliance."""

from invaudit.records.model_audit import Question
from invaudit.report.audit.content import Content
from invaudit.report.audit.wording import listed, share, words
from invaudit.report.leakage.findings import smallest_p
from invaudit.report.printing import p_text
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section

NO_STATEMENT = (
    "This page is no statement of compliance with any law, and no legal advice. It reports measurements. Whether a "
    "model is anonymous is decided case by case, by those who are responsible for it, and never by a tool."
)
TERMS = (
    (
        "CNIL",
        "Asks to establish and document resistance to extraction. An accepted shape is the success of an attack less "
        "that of a control attack, with an interval; the controller decides about the residual risk.",
    ),
    (
        "ICO",
        "Names model inversion and membership inference. Its motivated intruder has a skill, data and access: here "
        "those under What was tested.",
    ),
    (
        "NIST AI 100-2",
        "Calls what is asked here membership inference and data reconstruction, and tells white-box from black-box "
        "knowledge; which it was stands under What was tested. Property inference and model extraction are not tested.",
    ),
    (
        "NIST SP 800-226",
        "A measured epsilon is a lower bound of the privacy loss, never a guarantee.",
    ),
)


def opinion(content: Content) -> Section:
    """Return the statements of the page by what the opinion asks for."""
    columns = [
        GridColumn("the opinion asks for"),
        GridColumn("what this page says"),
        GridColumn("what it does not say"),
    ]
    rows = [GridRow(cells) for cells in _rows(content)]
    return Section(
        "For a data protection officer: Opinion 28/2024",
        lines=(NO_STATEMENT,),
        notes=(
            "Opinion 28/2024 of the European Data Protection Board (17 December 2024): a model that was trained on "
            "personal data is not anonymous by itself. For anonymity both the likelihood of extracting personal data "
            "of those it was trained on, directly (also by probability), and that of obtaining them by queries, "
            "intended or not, have to be insignificant, for each data subject, considering all means that are "
            "reasonably likely to be used. Told here from summaries of the opinion; read the opinion itself before "
            "you rely on it.",
        ),
        grid=Grid(columns, [GridPart(rows)], is_long=False),
        parts=(Section("Words of others", terms=TERMS),),
    )


def _rows(content: Content) -> list[list[str]]:
    environment = content.run.environment or {}
    date = environment.get("date") or "a date that is not recorded"
    return [
        [
            "likelihood of direct extraction, also by probability",
            f"{_membership(content)} {_reconstruction(content)} {_attacker(content)}",
            "How likely it is that somebody tries, and what else they hold.",
        ],
        [
            "likelihood of obtaining data by queries, intended or not",
            "The scores loss and margin need nothing but the model's answers.",
            "Reconstruction by queries, and answers that give away an image by accident, were not tested.",
        ],
        [
            "insignificant likelihood",
            "The scoring limit, the attack control and the p-values say what would have been noticed.",
            "No figure here is that likelihood, and none shows that it is insignificant. Finding nothing does not.",
        ],
        [
            "all means reasonably likely to be used, by the controller or others",
            "The methods, their settings and their time stand under What was tested and Cost.",
            "Attacks, settings and means that are not listed. Attacks get better; this was the state of "
            + str(date)
            + ".",
        ],
        [
            "each data subject, not the average",
            _each(content),
            "A row speaks of an image. A person with many images is more exposed than any one of them.",
        ],
        [
            "documentation: design, minimisation, resistance to state-of-the-art attacks; tests with their scope, "
            "frequency and outcome",
            f"Scope and outcome of one test of {date}; {_attacks(content)}. Anybody can "
            "check the figures without the model.",
            "Design and minimisation of the training data; attribute inference, exfiltration, regurgitation; how often "
            "tests are repeated.",
        ],
    ]


def _attacks(content: Content) -> str:
    tried: dict[Question, str] = {
        "membership": "membership inference",
        "reconstruction": "inversion and reconstruction",
    }
    return listed([words for question, words in tried.items() if content.verdict(question) is not None]) or "no attack"


def _attacker(content: Content) -> str:
    return f"The attacker {'sees what the model answers' if content.run.by_answers else 'reads the weights'}."


def _membership(content: Content) -> str:
    text = f"Membership: {words(content.verdict('membership'))}"
    for row in content.run.membership:
        if content.membership_tests and row.score == content.membership_tests[0].score and row.auroc is not None:
            return f"{text}, AUROC {share(row.auroc, row.auroc_low, row.auroc_high)} by {row.score}."
    return f"{text}."


def _reconstruction(content: Content) -> str:
    text = f"Reconstruction: {words(content.verdict('reconstruction'))}"
    smallest = smallest_p(content.reconstruction.tests)
    return f"{text}." if smallest is None else f"{text}, smallest p {p_text(smallest[0])}."


def _each(content: Content) -> str:
    if not content.audit.images:
        return "Nothing: images.csv is missing."
    claims = content.audit.claims
    named = (
        ""
        if claims is None
        else f" Named one by one: {claims.membership} by membership, {claims.reconstruction} by reconstructions."
    )
    return f"A row with p-values for each of {len(content.audit.images):,} images of the pool (images.csv).{named}"
