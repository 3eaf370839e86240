// Dialogs that ask before something is done. What the service refuses is said inside, and the dialog stays open.

/** `act` gets the form's data; the dialog closes when it is done. Returns what opens the dialog. */
export function asks(dialog, act) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  const button = form.querySelector("[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await act(new FormData(form));
      dialog.close();
    } catch (refusal) {
      problem.textContent = refusal.message;
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  return () => {
    problem.hidden = true;
    form.reset();
    dialog.showModal();
  };
}
