"""Theme and style sheet: system fonts only, so that no network is needed, and one column on a phone."""

from __future__ import annotations

import gradio as gr

TITLE = "LivePortraitTalker"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; padding: 0 !important;
  overflow: clip !important; }
.gradio-container .main.app { padding: 0 !important; }
.gradio-container main {
  padding: clamp(12px, 3vw, 24px) clamp(10px, 2.5vw, 28px) clamp(24px, 5vw, 40px) !important; }
.dark { --color-accent: var(--primary-400) !important; }
#lpt-head { margin: 4px 2px 0; }
#lpt-head h1 { font-size: 1.5rem; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
#lpt-head p { margin: 2px 0 0; color: var(--body-text-color-subdued); }
.lpt-status { border: 1px solid var(--border-color-primary); border-left: 4px solid var(--color-accent);
  border-radius: 8px; padding: 10px 14px; background: var(--block-background-fill); }
.lpt-status p { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lpt-status progress { width: 100%; height: 10px; margin-top: 8px; display: block; appearance: none; border: 0;
  border-radius: 5px; overflow: hidden; background: var(--border-color-primary); }
.lpt-status progress::-webkit-progress-bar { background: var(--border-color-primary); }
.lpt-status progress::-webkit-progress-value { background: var(--color-accent); }
.lpt-status progress::-moz-progress-bar { background: var(--color-accent); }
.lpt-status summary { cursor: pointer; font-size: 0.9em; margin-top: 6px; color: var(--body-text-color-subdued); }
.lpt-status ul { margin: 6px 0 0; padding-left: 1.2em; font-size: 0.9em; color: var(--body-text-color-subdued); }
.lpt-error { border-left-color: #dc2626; }
.lpt-done { border-left-color: #16a34a; }
.lpt-waiting { border-left-color: #d97706; }
.lpt-empty { color: var(--body-text-color-subdued); margin: 4px 2px; }
.lpt-history { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; }
.lpt-history li { display: flex; gap: 12px; align-items: center; margin: 0; padding: 8px;
  border: 1px solid var(--border-color-primary); border-radius: 8px; background: var(--block-background-fill); }
.lpt-history video, .lpt-history img { width: 96px; height: 96px; object-fit: cover; border-radius: 6px;
  background: #000; flex: none; }
.lpt-history div { display: flex; flex-direction: column; align-items: flex-start; gap: 2px; min-width: 0; }
.lpt-history span { color: var(--body-text-color-subdued); font-size: 0.9em; overflow-wrap: anywhere; }
.lpt-history p { margin: 2px 0 0; display: flex; gap: 14px; }
.lpt-history a, #lpt-foot a { color: var(--link-text-color); text-decoration: underline; }
:is([id$=-voice-player], [id$=-microphone]) { --neutral-400: var(--body-text-color-subdued); }
.lpt-takes { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 10px; }
.lpt-takes figure { margin: 0; }
.lpt-takes video { width: 100%; border-radius: 6px; background: #000; display: block; }
.lpt-takes figcaption { color: var(--body-text-color-subdued); font-size: 0.9em; overflow-wrap: anywhere; }
.lpt-table tr, .lpt-table thead, .lpt-table tbody { border: 0 !important; }
.lpt-table { width: 100%; border-collapse: collapse; font-size: 0.95em; border: 0 !important; }
.lpt-table th, .lpt-table td { text-align: left !important; padding: 8px 10px !important; vertical-align: top;
  word-break: normal; overflow-wrap: normal; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
footer .divider { display: none !important; }
.lpt-live { display: block; width: 100%; height: 780px; border: 0; border-radius: 8px; }
.lpt-still { align-self: flex-start; }
@media (min-width: 900px) { .lpt-still { position: sticky; top: 12px; } }
#lpt-foot { color: var(--body-text-color-subdued); font-size: 0.9em; margin-top: 8px; }
.lpt-summary p { color: var(--body-text-color-subdued); margin: 0; font-size: 0.92em; }
button:focus-visible, a:focus-visible, input:focus-visible, textarea:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--color-accent) !important; outline-offset: 2px; }
button.lg { white-space: nowrap; }
#lpt-ended:not(:empty) { position: fixed; inset: auto 0 0; z-index: 1000; margin: 0; padding: 12px 20px;
  background: #b91c1c; color: white; text-align: center; }
.lpt-file button { padding-top: 2.2rem; }
@media (max-width: 640px) {
  button.lg { font-size: 0.95rem; padding-inline: 6px; }
  :is(#talk-video, #speakers-video, #animate-video):not(:has(video)) {
    height: 150px !important; min-height: 0 !important; }
  .lpt-live { height: 1300px; }
  :is(#talk-examples, #speakers-example) :is(th, td) { padding: 6px !important; white-space: normal !important; }
  .lpt-table thead { display: none; }
  .lpt-table tr { display: block; padding: 6px 0; border-bottom: 1px solid var(--border-color-primary) !important; }
  .lpt-table td { border: 0 !important; }
  .lpt-table td { display: grid; grid-template-columns: 7em 1fr; gap: 8px;
    padding: 3px 6px !important; overflow-wrap: anywhere; }
  #lpt-tabs .tab-container button { padding: 0 3px; font-size: 0.8rem; }
  #edit-preview { display: contents !important; }
  #edit-preview > * { flex: 1 1 100%; }
  #edit-live { position: sticky !important; top: 0; z-index: 60; height: 250px !important; }
  .lpt-table td::before { content: attr(data-label); color: var(--body-text-color-subdued); }
}
@media (max-width: 350px) {
  #lpt-tabs .tab-container button { padding: 0 1px; font-size: 0.7rem; }
  :is(#talk-examples, #speakers-example) :is(th, td) { padding: 2px !important; font-size: 0.85rem; }
}
"""

SCRIPT = """
() => {
  const name = (element, attribute, value) => {
    if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
  };
  const name_all = () => {
    for (const button of document.querySelectorAll('.block .image-container > button')) {
      const label = button.closest('.block').querySelector('[data-testid=block-label]');
      name(button, 'aria-label', label?.textContent.trim() || 'Picture');
    }
    for (const empty of document.querySelectorAll('div.empty[aria-label]')) name(empty, 'role', 'img');
  };
  new MutationObserver(name_all).observe(document.body, {childList: true, subtree: true});
  name_all();

  const ended = document.createElement('p');
  ended.id = 'lpt-ended';
  ended.setAttribute('role', 'alert');
  document.body.append(ended);
  let unanswered = 0;
  setInterval(async () => {
    if (document.hidden) return;
    const answered = await fetch('healthz', {cache: 'no-store'}).then(answer => answer.ok, () => false);
    unanswered = answered ? 0 : unanswered + 1;
    ended.textContent = unanswered < 2 ? '' : 'The server does not answer. If it was stopped, start it again and ' +
      'reload this page; results that were not downloaded are gone.';
  }, 2000);
}
"""
"""Names of pictures and empty results for screen readers, which Gradio leaves out; a message when the server ends."""


def build_theme() -> gr.themes.Base:
    """Return a Gradio theme with system fonts and text contrast of at least 4.5 : 1."""
    base = gr.themes.Soft(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=list(FONTS), font_mono=list(MONO)
    )
    colours = {
        "body_text_color_subdued": "*neutral_600",
        "body_text_color_subdued_dark": "*neutral_300",
        "block_info_text_color": "*neutral_600",
        "block_info_text_color_dark": "*neutral_300",
        "block_label_background_fill_dark": "*primary_800",
        "block_label_text_color": "*primary_800",
        "block_title_text_color": "*primary_800",
        "button_primary_background_fill": "*primary_700",
        "button_primary_background_fill_hover": "*primary_800",
        "button_primary_background_fill_dark": "*primary_700",
        "checkbox_label_background_fill_selected": "*primary_700",
        "checkbox_label_background_fill_selected_dark": "*primary_700",
        "link_text_color": "*primary_700",
        "color_accent": "*primary_700",
        "slider_color": "*primary_700",
        "body_background_fill": "*neutral_100",
        "block_background_fill": "white",
        "block_border_width": "1px",
        "block_border_color": "*neutral_200",
        "checkbox_border_color": "*neutral_400",
        "input_border_width": "1px",
        "input_border_color": "*neutral_300",
    }
    return base.set(**colours)
